"""Programs in processes of their own, which end with the context whatever happens."""

from __future__ import annotations

import json
import select
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import frozen

ROOT = Path(__file__).resolve().parents[1]
#: Seconds that a program may take for its line, and to end once it was told to.
PATIENCE, END = 60.0, 5.0


@frozen
class Child:
    """A program that runs and speaks JSON, a line each.

    Args:
        ready: its first line: it is ready.
    """

    process: subprocess.Popen[bytes]
    ready: Mapping[str, Any]

    def ask(self, **question: Any) -> dict[str, Any]:
        """Write a line and read the answer.

        Raises:
            RuntimeError: there was none.
        """
        assert self.process.stdin
        self.process.stdin.write(json.dumps(question).encode() + b"\n")
        return read_line(self.process)


@contextmanager
def child(module: str, *arguments: str) -> Iterator[Child]:
    """Run a module of this project until left."""
    with subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    ) as process:
        try:
            yield Child(process, read_line(process))
        finally:
            _end(process)


def read_line(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """Read what a program says next.

    Raises:
        RuntimeError: it says nothing for too long, or has ended.
    """
    assert process.stdout
    if not select.select([process.stdout], [], [], PATIENCE)[0]:
        raise RuntimeError(f"{process.args!r} said nothing for {PATIENCE:g} s")
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{process.args!r} has ended")
    found: dict[str, Any] = json.loads(line)
    return found


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(END)
    except subprocess.TimeoutExpired:
        process.kill()
