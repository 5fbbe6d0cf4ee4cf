"""What the figures were taken on: without that they mean nothing."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from importlib import metadata

from attrs import frozen

#: What a figure depends on, besides the project itself.
PARTS = (
    *("anyio", "attrs", "cattrs", "structlog", "docker", "urllib3"),
    *("python-socketio", "python-engineio", "uvicorn", "uvloop", "httptools", "websockets"),
    *("wsproto", "orjson", "msgspec"),
)
DOCKERD = "/usr/sbin/dockerd"


@frozen
class Machine:
    """Where and with what a run was made.

    Args:
        parts: the versions of what is installed of `PARTS`.
        engine: the version of the ``dockerd`` that is installed; empty: there is none.
        load_before, load_after: the load average of one minute.
    """

    cores: int
    system: str
    python: str
    parts: Mapping[str, str]
    engine: str
    load_before: float
    load_after: float

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {version}" for name, version in self.parts.items())
        engine = f", dockerd {self.engine}" if self.engine else ""
        return (
            f"{self.cores} cores, {self.system}, Python {self.python}{engine}; load"
            f" {self.load_before:.1f} before, {self.load_after:.1f} after; {parts}"
        )


def load() -> float:
    """The load average of one minute; 0 where the system has none."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def this_machine(load_before: float) -> Machine:
    """Describe this machine, at the end of a run.

    Args:
        load_before: what `load` said before it.
    """
    return Machine(
        cores=cores(),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        parts={name: version for name in PARTS if (version := _version(name))},
        engine=_engine_version(),
        load_before=load_before,
        load_after=load(),
    )


def cores() -> int:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _engine_version() -> str:
    program = shutil.which("dockerd") or shutil.which(DOCKERD)
    if program is None:
        return ""
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"version (\S+),", told.stdout)
    return found[1] if found else ""
