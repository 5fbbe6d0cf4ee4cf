"""A machine to be examined: folders and settings of its own, and the real command."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from flow_manager_cli.main import main
from tests.support.registry import free_port

#: Seconds for the command in a process of its own.
PATIENCE = 60
#: Variables that would be settings.
BARE = ("HOST", "PORT", "SOCKET_DIR", "STATE_DIR", "CONFIG_FILE", "LOG_LEVEL", "CORS_ORIGINS")


@frozen
class Examined:
    """What the doctor said."""

    code: int
    body: dict[str, Any]

    def status(self, check: str) -> str:
        """What became of a check."""
        return str(self._check(check)["status"])

    @property
    def complaining(self) -> set[str]:
        """The checks that found something amiss."""
        return {c["name"] for c in self.body["checks"] if c["status"] in ("warning", "error")}

    @property
    def all_amiss(self) -> dict[str, list[dict[str, Any]]]:
        """All that was found amiss."""
        return {check: self.amiss(check) for check in self.complaining}

    def amiss(self, check: str) -> list[dict[str, Any]]:
        """What a check found amiss."""
        findings: list[dict[str, Any]] = self._check(check)["findings"]
        return [finding for finding in findings if finding["severity"] != "ok"]

    def _check(self, name: str) -> dict[str, Any]:
        return next(check for check in self.body["checks"] if check["name"] == name)


@define
class Machine:
    """Settings for one examination.

    Args:
        root: short: a socket's path holds 107 bytes.
        options: of the command line.
        environ: variables besides the present ones.
        inside: what the command is started by, where it needs a process of its own.
    """

    root: Path
    backend: str = "process"
    port: int = field(factory=free_port)
    options: list[str] = field(factory=list)
    environ: dict[str, str] = field(factory=dict)
    inside: list[str] = field(factory=list)

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def sockets(self) -> Path:
        return self.root / "sockets"

    @property
    def journal(self) -> Path:
        return self.state / "instances" / "default" / "journal.sqlite"

    def arguments(self) -> list[str]:
        return [
            *("doctor", "--backend", self.backend, "--port", str(self.port)),
            *("--socket-dir", str(self.sockets), "--state-dir", str(self.state)),
            *self.options,
        ]

    def examined(self, *options: str) -> Examined:
        """Run the command for programs."""
        code, text = self.run("--json", *options)
        return Examined(code, json.loads(text))

    def run(self, *options: str) -> tuple[int, str]:
        """Run the command; in this process, unless it needs one of its own."""
        arguments = [*self.arguments(), *options]
        if self.inside:
            return self._apart(arguments)
        with (
            surroundings(self.root, self.environ),
            contextlib.redirect_stdout(io.StringIO()) as out,
        ):
            code = main(arguments)
        return code, out.getvalue()

    def _apart(self, arguments: list[str]) -> tuple[int, str]:
        done = subprocess.run(
            [*self.inside, sys.executable, "-m", "flow_manager_cli.main", *arguments],
            cwd=self.root,
            env={**clean(dict(os.environ)), **self.environ},
            stdout=subprocess.PIPE,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return done.returncode, done.stdout


def clean(environ: dict[str, str]) -> dict[str, str]:
    """Leave out what would be settings."""
    return {k: v for k, v in environ.items() if not k.startswith("FLOW_MANAGER_") and k not in BARE}


@contextmanager
def surroundings(folder: Path, environ: dict[str, str]) -> Iterator[None]:
    """Be in a folder, with these variables."""
    before, here = dict(os.environ), Path.cwd()
    os.environ.clear()
    os.environ.update(clean(before) | environ)
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(here)
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def machine(backend: str = "process") -> Iterator[Machine]:
    """A healthy one, taken away afterwards."""
    root = Path(tempfile.mkdtemp(prefix="fmdoc-"))
    try:
        yield Machine(root, backend)
    finally:
        shutil.rmtree(root)


@frozen
class Fault:
    """Something that can go wrong.

    Args:
        name: what a person would call it.
        check: which check is to tell of it, and no other.
        words: what its finding says.
        inject: makes it so, until the generator is left.
    """

    name: str
    check: str
    words: str
    inject: Callable[[Machine], Iterator[None]]
    severity: str = "error"

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


def named_and_no_other(fault: Fault, ill: Machine) -> None:
    """Make the fault, and see that its own check tells of it, with words and a remedy."""
    with contextmanager(fault.inject)(ill):
        found = ill.examined()
    assert found.complaining == {fault.check}, found.all_amiss
    told = found.amiss(fault.check)
    assert any(fault.words in finding["found"] for finding in told), told
    assert all(finding["remedy"] for finding in told)
    assert found.status(fault.check) == fault.severity
    assert found.code == {"warning": 1, "error": 2}[fault.severity]
