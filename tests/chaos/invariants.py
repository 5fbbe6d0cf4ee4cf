"""What must be so whenever nothing has been broken for a while."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import anyio
from anyio import to_thread

from tests.chaos import outside
from tests.chaos.manager import Manager

#: Seconds within which all is as it should be, once a fault is over.
SETTLED = 30.0
PAUSE = 0.1

Check = Callable[[], Awaitable[Sequence[str]]]


class Asks(Protocol):
    """A client."""

    async def ask(self, request: str, /, **payload: Any) -> dict[str, Any]:
        """Send a request; return its answer, which may be an error."""


async def settles(check: Check, seconds: float = SETTLED) -> None:
    """Wait until a check finds no fault.

    Raises:
        AssertionError: with those that it finds at the end.
    """
    faults: Sequence[str] = ["the check did not come to an end"]
    with anyio.move_on_after(seconds):
        while faults := await check():
            await anyio.sleep(PAUSE)
        return
    raise AssertionError(f"after {seconds:g} s:\n  " + "\n  ".join(faults))


async def disagreements(manager: Manager, client: Asks) -> list[str]:
    """Compare what the manager lists with what the machine shows; name what does not fit."""
    answer = await client.ask("list_containers")
    if answer.get("error"):
        return [f"list_containers: {answer['message']}"]
    listed = {entry["id"]: entry for entry in answer["containers"]}
    seen = await to_thread.run_sync(outside.containers, manager)
    channels = await to_thread.run_sync(outside.channel_names, manager)
    names = {one.name for one in seen.values()}
    return [
        *(f"{seen[key]} is not listed" for key in seen.keys() - listed.keys()),
        *(f"{listed[key]} does not exist" for key in listed.keys() - seen.keys()),
        *(
            f"{listed[key]} does not fit {seen[key]}"
            for key in listed.keys() & seen.keys()
            if (listed[key]["status"] == "running") != (seen[key].pid > 0)
        ),
        *(f"there is a channel for {name!r} alone" for name in channels - names),
        *(f"there is no channel for {name!r}" for name in names - channels),
        *(f"left behind: {path}" for path in await to_thread.run_sync(outside.scraps, manager)),
    ]


async def listing(client: Asks) -> dict[str, dict[str, Any]]:
    """What ``list_containers`` shows, by id."""
    answer = await client.ask("list_containers")
    assert not answer.get("error"), answer
    return {entry["id"]: entry for entry in answer["containers"]}


async def connected(client: Asks, container_id: str) -> None:
    """Wait until a flow runs and its channel is up."""

    async def check() -> list[str]:
        status = await client.ask("get_container_status", container_id=container_id)
        up = status.get("state") == "running" and status.get("socket_connected")
        return [] if up else [f"not connected: {status}"]

    await settles(check)
