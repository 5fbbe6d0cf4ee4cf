"""The real service, with a place to die before and after each step of an operation.

Run as ``flow-manager`` is. The changing calls that leave the manager, to the engine, the transport
and the journal, are numbered from the moment the file that FAILPOINT_PLAN names appears or
changes: ``{"step": 3, "edge": "before"}`` kills the process, with SIGKILL, before the third of
them; step 0 kills nothing. Each call is written to the file that FAILPOINT_TRACE names. Without a
plan the service is as it always is. Nothing of this is in the service itself: the classes at its
seams are given subclasses, in this process alone.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import attrs

from flow_manager_cli.main import main
from flow_manager_core.journals import Change, Table
from flow_manager_core.sqlite.journal import SqliteJournal
from flow_manager_docker import plugin as docker_plugin
from flow_manager_process import plugin as process_plugin
from flow_manager_unix_socket import plugin as unix_socket_plugin

BACKEND = (
    *("create", "start", "stop", "remove", "write_code", "read_code", "pull"),
    *("freeze", "thaw", "save", "ground", "fill", "discard"),
)

Method = Callable[..., Awaitable[Any]]


class Failpoints:
    """Counts the calls, and dies at the one that the plan names."""

    def __init__(self, plan: Path, trace: Path) -> None:
        self._plan = plan
        self._trace = trace
        self._armed = ""
        self._count = 0

    async def passing(self, name: str, call: Callable[[], Awaitable[Any]]) -> Any:
        """Make a call, unless the process is to die before it."""
        plan = self._read()
        if plan is None:
            return await call()
        self._count += 1
        number = self._count
        self._tell(f"{number} {name}")
        self._die_at(plan, number, "before")
        result = await call()
        self._die_at(plan, number, "after")
        return result

    def _read(self) -> dict[str, Any] | None:
        try:
            text = self._plan.read_text()
        except FileNotFoundError:
            return None
        if text != self._armed:
            self._armed, self._count = text, 0
        return dict(json.loads(text))

    def _tell(self, line: str) -> None:
        with self._trace.open("a") as file:
            file.write(f"{line}\n")

    @staticmethod
    def _die_at(plan: dict[str, Any], number: int, edge: str) -> None:
        if (plan["step"], plan["edge"]) == (number, edge):
            os.kill(os.getpid(), signal.SIGKILL)


POINTS = Failpoints(Path(os.environ["FAILPOINT_PLAN"]), Path(os.environ["FAILPOINT_TRACE"]))


def counted(kind: type, seam: str, names: Iterable[str]) -> type:
    """A subclass whose methods of these names are failpoints."""
    found = {name: getattr(kind, name) for name in names if hasattr(kind, name)}
    body = {name: point(f"{seam}.{name}", method) for name, method in found.items()}
    return type(kind.__name__, (kind,), body)


def point(label: str, method: Method) -> Method:
    """The method, as a failpoint."""

    @functools.wraps(method)
    async def passing(self: object, *args: Any, **kwargs: Any) -> Any:
        return await POINTS.passing(label, lambda: method(self, *args, **kwargs))

    return passing


Factory = Callable[..., AbstractAsyncContextManager[Any]]


def with_points(factory: Factory, change: Callable[[Any], None]) -> Factory:
    """A provider's factory, whose product is changed before anybody has it."""

    @asynccontextmanager
    async def made(*args: Any) -> AsyncIterator[Any]:
        async with factory(*args) as product:
            change(product)
            yield product

    return made


def change_backend(backend: Any) -> None:
    """Make a backend's changing methods failpoints; its abilities stay what they are."""
    backend.__class__ = counted(type(backend), "backend", BACKEND)


def change_transport(transport: Any) -> None:
    """Make a transport's `open`, and the `close` of what it opens, failpoints."""
    opening = point("transport.open", type(transport).open)

    async def opened(self: Any, *args: Any, **kwargs: Any) -> Any:
        endpoint = await opening(self, *args, **kwargs)
        endpoint.__class__ = counted(type(endpoint), "endpoint", ["close"])
        return endpoint

    transport.__class__ = type(type(transport).__name__, (type(transport),), {"open": opened})


def commit_with_points(commit: Method) -> Method:
    """A journal's `commit`, as a failpoint wherever somebody waits for what it keeps.

    Commits of nothing but events come whenever the flows and the clock have it, so they cannot be
    counted; each of the others has events in it as well.
    """

    @functools.wraps(commit)
    async def passing(self: object, changes: Sequence[Change], *, urgent: bool = False) -> None:
        awaited = [each for each in changes if each.table is not Table.EVENTS]
        if not awaited:
            await commit(self, changes, urgent=urgent)
            return
        label = f"journal.{type(awaited[0]).__name__.lower()} {awaited[0].table}"
        await POINTS.passing(label, lambda: commit(self, changes, urgent=urgent))

    return passing


def install() -> None:
    """Change the seams of this process."""
    for plugin, change in (
        (docker_plugin, change_backend),
        (process_plugin, change_backend),
        (unix_socket_plugin, change_transport),
    ):
        provider: Any = vars(plugin)["PROVIDER"]
        factory = with_points(provider.factory, change)
        vars(plugin)["PROVIDER"] = attrs.evolve(provider, factory=factory)
    SqliteJournal.commit = commit_with_points(SqliteJournal.commit)  # type: ignore[method-assign]


if __name__ == "__main__":
    install()
    sys.exit(main())
