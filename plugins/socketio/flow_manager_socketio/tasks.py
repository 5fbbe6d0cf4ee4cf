"""Tasks that python-socketio starts, owned: none outlives the app, none fails in silence."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from flow_manager_core.log import Log


class OwnedTasks:
    """Holds asyncio tasks until they end or are cancelled."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    def start(
        self, target: Callable[..., Coroutine[Any, Any, Any]], *args: Any, **kwargs: Any
    ) -> asyncio.Task[Any]:
        """Run a coroutine function in a task; after `close` it is cancelled before it begins."""
        task = asyncio.get_running_loop().create_task(target(*args, **kwargs))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        if self._closed:
            task.cancel()
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._log.error("Task failed", error=repr(error), exc_info=error)

    async def wait(self, seconds: float | None) -> None:
        """Let the tasks end by themselves for a while; ``None``: for as long as it takes."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=seconds)

    def cancel(self) -> None:
        """Cancel what runs, and whatever is still to be started."""
        self._closed = True
        for task in set(self._tasks):
            task.cancel()

    async def close(self, seconds: float) -> None:
        """Cancel what still runs, wait for it to end."""
        self.cancel()
        await self.wait(seconds)
