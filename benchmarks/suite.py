"""The modules of the suite, each run in a process of its own that ends in time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from attrs import frozen

from benchmarks.rows import Row

ROOT = Path(__file__).resolve().parents[1]
#: Seconds that a module gets to take away what it made, once its time is up.
UNWIND = 20.0
#: What is told of a module that failed: the last characters of its error output.
TAIL = 600


@frozen
class Module:
    """One module.

    Args:
        seconds: that it may take, with five rounds, on a crowded machine.
        engine: whether it asks a Docker Engine, which then must be there.
    """

    name: str
    seconds: float = 240.0
    engine: bool = False


MODULES = (
    Module("round_trip"),
    Module("one_way"),
    Module("fan_out"),
    Module("slow_client"),
    Module("status", engine=True),
    Module("creation", 300.0, engine=True),
    Module("crash", engine=True),
    Module("idle", 600.0, engine=True),
    Module("growth"),
    Module("durable"),
    Module("start"),
)
NAMES = tuple(module.name for module in MODULES)


class Unmeasured(Exception):
    """A module gave no rows, or not all; the text says why."""


def is_there(module: Module) -> bool:
    """Whether it can be found."""
    return find_spec(f"benchmarks.{module.name}") is not None


def measured(
    module: Module, rounds: int, environ: Mapping[str, str], *, quick: bool
) -> Iterator[Row]:
    """Run a module, and yield its rows.

    Args:
        environ: variables that it gets besides this process's.

    Raises:
        Unmeasured: it is missing, failed, or took too long; nothing of it runs on.
    """
    if not is_there(module):
        raise Unmeasured(f"the module benchmarks/{module.name}.py is missing")
    command = [sys.executable, "-m", "benchmarks.one", module.name, f"--rounds={rounds}"]
    with subprocess.Popen(
        [*command, *(["--quick"] if quick else [])],
        cwd=ROOT,
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A group of its own: whatever it leaves behind is ended with it.
        start_new_session=True,
    ) as process:
        out, err, why = _outcome(process, module.seconds)
    yield from (Row(**json.loads(line)) for line in out.splitlines())
    if why is None and process.returncode != 0:
        why = f"failed: {err.strip()[-TAIL:]}"
    if why is not None:
        raise Unmeasured(f"benchmarks.{module.name} {why}")


def _outcome(process: subprocess.Popen[str], seconds: float) -> tuple[str, str, str | None]:
    """Wait for a module; return its output, its error output, and what was wrong with its time."""
    try:
        return (*process.communicate(timeout=seconds), None)
    except subprocess.TimeoutExpired:
        _end(process)
        return (*process.communicate(), f"took over {seconds:g} s")
    finally:
        _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    """End a module in order, and then whatever is left of its group."""
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(UNWIND)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
