"""Run as a program: uses a manager on one event loop, and prints what it changed.

Arguments: the event loop (``asyncio`` or ``trio``) and a folder. One line is a difference.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any

import anyio

#: Where calls of a mapping's methods pass through.
MAPPINGS = ("os", "collections.abc", "_collections_abc")


class TrappingEnviron(MutableMapping[str, str]):
    """The environment, with a note of who reads it."""

    def __init__(self, real: MutableMapping[str, str]) -> None:
        self._real = real
        self.armed = False
        self.read: list[str] = []

    def _note(self, name: str) -> None:
        frame = sys._getframe(2)
        while frame and frame.f_globals["__name__"] in MAPPINGS:
            frame = frame.f_back
        if self.armed and frame and frame.f_globals["__name__"].startswith("flow_manager"):
            self.read.append(f"{name} read by {frame.f_globals['__name__']}")

    def __getitem__(self, name: str) -> str:
        self._note(name)
        return self._real[name]

    def __setitem__(self, name: str, value: str) -> None:
        self._real[name] = value

    def __delitem__(self, name: str) -> None:
        del self._real[name]

    def __iter__(self) -> Iterator[str]:
        self._note("all")
        return iter(self._real)

    def __len__(self) -> int:
        return len(self._real)


def seen() -> dict[str, Any]:
    """What a library has no business with."""
    root = logging.getLogger()
    return {
        "handlers": list(root.handlers),
        "level": root.level,
        "disabled": logging.root.manager.disable,
        "logger class": logging.getLoggerClass(),
        "record factory": logging.getLogRecordFactory(),
        "signals": {s: signal.getsignal(s) for s in signal.valid_signals()},
        "signal mask": signal.pthread_sigmask(signal.SIG_BLOCK, []),
        "wakeup": _wakeup(),
        "environment": dict(os.environ),
        "folder": str(Path.cwd()),
        "umask": _umask(),
        "hooks": (sys.excepthook, sys.unraisablehook, threading.excepthook, sys.displayhook),
        "streams": (sys.stdin, sys.stdout, sys.stderr),
        "trace": (sys.gettrace(), sys.getprofile(), sys.getrecursionlimit()),
        "warnings": _filters(),
        "policy": asyncio.get_event_loop_policy(),
        "context": dict(contextvars.copy_context()),
        "threads": sorted(t.name for t in threading.enumerate() if not _pooled(t)),
    }


def _pooled(thread: threading.Thread) -> bool:
    """Idle workers of anyio and trio, which end with them or the process."""
    return thread.name.startswith(("AnyIO worker thread", "Trio thread"))


def _filters() -> list[Any]:
    """Those that others can feel: requests and urllib3 set some for categories of their own."""
    return [rule for rule in warnings.filters if rule[2].__module__ == "builtins"]


def _wakeup() -> int:
    descriptor = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(descriptor)
    return descriptor


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def use(loop: str, home: Path) -> list[str]:
    """Import and use all of it; return what differs inside of the loop."""
    from flow_manager_core import FlowManager, Settings

    frontends = _mounted() if loop == "asyncio" else []

    async def main() -> list[str]:
        before = seen()
        settings = Settings(
            backend="process",
            token="a token of some length",
            socket_dir=home / "sockets",
            state_dir=home / "state",
            volume_roots=(home,),
        )
        async with FlowManager(settings, frontends=frontends) as manager:
            made = await manager.execute(
                "create_container",
                {"image": "python", "command": ["-c", "input()"], "start": True},
            )
            during = differences(before, seen(), "threads")
            await manager.execute("delete_container", {"container_id": made["container_id"]})
        return [*during, *differences(before, seen())]

    return anyio.run(main, backend=loop)


def _mounted() -> list[Any]:
    from flow_manager_socketio import MountedSocketIO

    return [MountedSocketIO().provider]


def differences(before: dict[str, Any], after: dict[str, Any], *but: str) -> list[str]:
    """Name what is not as it was."""
    changed = [name for name in before if name not in but and before[name] != after[name]]
    return [f"{name}: {before[name]!r} became {after[name]!r}" for name in changed]


def watching(environ: TrappingEnviron) -> Callable[[], list[str]]:
    """Import the core alone; return what it read and started."""
    threads = threading.active_count()
    environ.armed = True
    import flow_manager_core  # noqa: F401

    environ.armed = False
    started = threading.active_count() - threads
    return [*environ.read, *([f"{started} threads"] if started else [])]


if __name__ == "__main__":
    trap = TrappingEnviron(os.environ)
    vars(os)["environ"] = trap
    state = seen()
    told = watching(trap)
    told += differences(state, seen())
    told += use(sys.argv[1], Path(sys.argv[2]))
    told += differences(state, seen())
    print("\n".join(told))
