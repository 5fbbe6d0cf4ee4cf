"""The modules of the suite, each run in a process of its own that ends in time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
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
    Module("start"),
)
NAMES = tuple(module.name for module in MODULES)


class Unmeasured(Exception):
    """A module gave no rows, or not all; the text says why."""


def is_there(module: Module) -> bool:
    """Whether it can be found."""
    return find_spec(f"benchmarks.{module.name}") is not None


def measured(module: Module, rounds: int, environ: Mapping[str, str], *, quick: bool) -> Sequence[Row]:
    """Run a module.

    Raises:
        Unmeasured: it is missing, failed, or took too long; nothing of it runs on.
    """
    if not is_there(module):
        raise Unmeasured(f"the module benchmarks/{module.name}.py is missing")
    command = [sys.executable, "-m", "benchmarks.one", module.name, f"--rounds={rounds}"]
    process = subprocess.Popen(
        [*command, *(["--quick"] if quick else [])],
        cwd=ROOT,
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A group of its own: whatever it leaves behind is ended with it.
        start_new_session=True,
    )
    with process:
        out, err = _outcome(process, module)
    if process.returncode != 0:
        raise Unmeasured(f"benchmarks.{module.name} failed: {err.strip()[-TAIL:]}")
    return [Row(**json.loads(line)) for line in out.splitlines()]


def _outcome(process: subprocess.Popen[str], module: Module) -> tuple[str, str]:
    try:
        return process.communicate(timeout=module.seconds)
    except subprocess.TimeoutExpired:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(UNWIND)
        raise Unmeasured(f"benchmarks.{module.name} took over {module.seconds:g} s") from None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
