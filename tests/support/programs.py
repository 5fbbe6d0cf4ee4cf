"""Programs that a test starts, which never outlive it: whatever fails, nobody waits for them.

Also a pytest plugin: they take Ctrl-C as anybody's programs do. A shell has what it starts in the
background ignore Ctrl-C, a test run for instance, and whatever that starts in turn.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


def pytest_configure() -> None:
    """Ignore Ctrl-C no longer."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def program(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Run one whose output is text, read through pipes; it is killed if it still runs at the end.

    Leaving a ``with subprocess.Popen(...)`` waits without end for a program that does not, also
    when the test has failed just because of that.

    Args:
        options: of `subprocess.Popen`.
    """
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **{**pipes, **options}) as process:
        try:
            yield process
        finally:
            process.kill()
