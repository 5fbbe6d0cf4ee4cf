"""What end-to-end tests look at beside the client's events: the service's health, the engine."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio
from anyio import to_thread

from tests.e2e.client import Client
from tests.e2e.service import Service
from tests.support.engine import DockerEngine

T = TypeVar("T")

#: Seconds: an outage is noticed, and its end, well within this.
NOTICED = 20.0


async def until(check: Callable[[], Awaitable[T]], seconds: float = NOTICED) -> T:
    """Ask until the answer is true; return it."""
    found = None
    with anyio.move_on_after(seconds):
        while not (found := await check()):
            await anyio.sleep(0.02)
        return found
    raise AssertionError(f"still {found!r} after {seconds} seconds")


async def on_engine(engine: DockerEngine, work: Callable[[Any], T]) -> T:
    """Do something with Docker's own client, behind the manager's back."""

    def run() -> T:
        with engine.client() as client:
            return work(client)

    return await to_thread.run_sync(run)


async def health(service: Service) -> dict[str, Any]:
    """What ``GET /health`` says, whatever its code."""

    def get() -> dict[str, Any]:
        try:
            with urllib.request.urlopen(service.url + "/health", timeout=10) as response:
                return dict(json.load(response))
        except urllib.error.HTTPError as error:
            with error:
                assert error.code == 503
                return dict(json.load(error))

    return await to_thread.run_sync(get)


async def becomes(service: Service, status: str) -> None:
    """Wait until the service says that it is healthy, or degraded."""

    async def is_so() -> bool:
        return bool((await health(service))["status"] == status)

    await until(is_so)


async def settled(client: Client) -> None:
    """Wait until all that the engine shows now has been looked at and told.

    A listing compares everything; events come apart from answers, so it is asked until two answers
    have nothing between them.
    """
    heard = -1
    while heard != (heard := len([name for name, _ in client.events if name != "container_list"])):
        answer = await client.ask("list_containers")
        assert not answer.get("error"), answer


def told_of(client: Client, container_id: str, *names: str, since: int = 0) -> list[str]:
    """The names of the events of a container, of these kinds, in order."""
    return [
        name
        for name, body in client.events[since:]
        if name in names and body.get("container_id") == container_id
    ]


def moves_since(client: Client, container_id: str, since: int) -> list[tuple[str, str]]:
    """A container's status changes from some event on."""
    return [
        (body["old_state"], body["new_state"])
        for name, body in client.events[since:]
        if name == "status_changed" and body["container_id"] == container_id
    ]
