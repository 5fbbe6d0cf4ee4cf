"""One container in memory, its program and the program's runs."""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal

import anyio
from attrs import define, field, frozen

from flow_manager_core.models import Container, CreatePlan, LogLine

SIGTERM, SIGKILL = 15, 9
KEPT_LINES = 1000


@define
class MemoryFlow:
    """What a program in memory sees of its container.

    Args:
        environment: the client's variables and, winning over them, the channel's.
        code: the code folder, names and contents, as `write_code` left it.
        files: the container's other files; they stay from run to run.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    code: Mapping[str, bytes]
    files: dict[str, bytes]
    print_line: Callable[[str, Literal["stdout", "stderr"]], None] = field(repr=False)
    _terminate: anyio.Event | None = None

    def print(self, line: str, stream: Literal["stdout", "stderr"] = "stdout") -> None:
        """Say one line of output."""
        self.print_line(line, stream)

    def catch_terminate(self) -> anyio.Event:
        """Handle SIGTERM: the event is set instead of the program being ended."""
        if self._terminate is None:
            self._terminate = anyio.Event()
        return self._terminate

    def terminate(self) -> bool:
        """Deliver SIGTERM; tell whether the program handles it."""
        if self._terminate is None:
            return False
        self._terminate.set()
        return True


#: Returns the exit code (``None``: 0). Raising is a traceback on stderr and code 1. A program that
#: raises `EngineError` when it is *called*, before it is awaited, cannot be started.
Program = Callable[[MemoryFlow], Awaitable[int | None]]


@frozen
class Run:
    """One run of a container's program."""

    flow: MemoryFlow
    scope: anyio.CancelScope = field(factory=anyio.CancelScope)
    ended: anyio.Event = field(factory=anyio.Event)


@define
class Box:
    """One container with all that it has in memory."""

    plan: CreatePlan
    seen: Container
    instance: str
    output: deque[LogLine] = field(factory=lambda: deque(maxlen=KEPT_LINES))
    code: dict[str, bytes] = field(factory=dict)
    files: dict[str, bytes] = field(factory=dict)
    run: Run | None = None
    killed_by: int = SIGKILL


async def exit_code(flow: MemoryFlow, awaitable: Awaitable[int | None]) -> int:
    """Run a program to its end."""
    try:
        return await awaitable or 0
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception:  # noqa: BLE001 - whatever a program raises is its own end
        for line in traceback.format_exc().splitlines():
            flow.print(line, "stderr")
        return 1
