"""Following containers' output, on both event loops, through a frontend in memory."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from flow_manager_core import FlowManager, PluginHost, Settings
from flow_manager_core.contracts import Outlet
from flow_manager_core.errors import EngineError
from flow_manager_core.events import ContainerLogged, Event
from flow_manager_core.log_following import OF_ONE, Passed, after
from flow_manager_core.models import Client, LogLine
from flow_manager_core.requests import LogCursor
from flow_manager_core.testing.memory_backend import (
    SCRIPTED,
    MemoryEngine,
    MemoryFlow,
    memory_provider,
)
from flow_manager_core.testing.memory_client import MemoryClient
from flow_manager_core.testing.memory_frontend import MemoryDoor, memory_frontend_provider
from flow_manager_core.testing.memory_transport import MemoryNetwork, memory_transport_provider

pytestmark = pytest.mark.anyio


class Speaker:
    """A program that says what a test tells it to."""

    def __init__(self) -> None:
        self.flow: MemoryFlow | None = None
        self.ended = anyio.Event()

    async def program(self, flow: MemoryFlow) -> int:
        self.flow, self.ended = flow, anyio.Event()
        terminate = flow.catch_terminate()
        async with anyio.create_task_group() as group:

            async def until(event: anyio.Event) -> None:
                await event.wait()
                group.cancel_scope.cancel()

            group.start_soon(until, terminate)
            group.start_soon(until, self.ended)
        return 0

    def say(self, *lines: str) -> None:
        assert self.flow is not None
        for line in lines:
            self.flow.print(line)


class Follower:
    """A client that follows, and what it was told."""

    def __init__(self, client: MemoryClient) -> None:
        self.client = client
        self.lines: list[str] = []
        self.ends: list[str] = []
        self.cursor = ""

    async def listen(self) -> None:
        async for name, body in self.client.events():
            if name == "container_log":
                self.lines += [line["line"] for line in body["lines"]]
                self.cursor = body["cursor"]
            elif name == "container_log_ended":
                self.ends.append(body["reason"])

    async def follow(self, key: str, **payload: Any) -> dict[str, Any]:
        event, body = await self.client.request(
            "get_container_logs", {"container_id": key, "follow": True, **payload}
        )
        assert event == "container_logs", body
        return dict(body)


class Stage:
    def __init__(self, door: MemoryDoor, engine: MemoryEngine, speaker: Speaker) -> None:
        self.door, self.engine, self.speaker = door, engine, speaker

    @asynccontextmanager
    async def follower(self) -> AsyncIterator[Follower]:
        async with self.door.connect() as client, anyio.create_task_group() as group:
            follower = Follower(client)
            group.start_soon(follower.listen)
            yield follower
            group.cancel_scope.cancel()

    async def create(self, client: MemoryClient) -> str:
        payload = {"image": "speaker", "name": "one", "start": True}
        event, body = await client.request("create_container", payload)
        assert event == "container_created", body
        return str(body["container_id"])


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    door, speaker = MemoryDoor(), Speaker()
    async with MemoryEngine({"speaker": speaker.program, **SCRIPTED}).opened() as engine:
        manager = FlowManager(
            Settings(reconcile_interval=0.05, journal="memory"),
            host=PluginHost(installed=False),
            backend=memory_provider(engine),
            transport=memory_transport_provider(MemoryNetwork()),
            frontends=[memory_frontend_provider(door)],
        )
        async with manager:
            yield Stage(door, engine, speaker)


async def until(condition: Any) -> None:
    with anyio.fail_after(10):
        while not condition():
            await anyio.sleep(0.002)


async def test_what_there_is_is_answered_and_what_comes_is_told() -> None:
    async with stage() as s, s.follower() as f:
        key = await s.create(f.client)
        s.speaker.say("one", "two")
        answer = await f.follow(key, tail=1)
        assert [line["line"] for line in answer["lines"]] == ["two"]
        s.speaker.say("three", "four")
        await until(lambda: f.lines == ["three", "four"])


async def test_following_goes_on_through_the_containers_runs_until_it_is_removed() -> None:
    async with stage() as s, s.follower() as f:
        key = await s.create(f.client)
        await f.follow(key)
        s.speaker.say("first run")
        await f.client.request("restart_container", {"container_id": key})
        s.speaker.say("second run")
        await until(lambda: f.lines == ["first run", "second run"])
        await f.client.request("delete_container", {"container_id": key})
        await until(lambda: f.ends == ["the container was removed"])


async def test_a_client_that_comes_back_goes_on_where_it_was_with_no_gap_and_no_repeat() -> None:
    async with stage() as s:
        async with s.follower() as f:
            key = await s.create(f.client)
            await f.follow(key)
            s.speaker.say("a", "b")
            await until(lambda: f.lines == ["a", "b"])
            cursor = f.cursor
        s.speaker.say("c", "d")
        async with s.follower() as again:
            answer = await again.follow(key, cursor=cursor)
            s.speaker.say("e")
            await until(lambda: again.lines[-1:] == ["e"])
            told = [line["line"] for line in answer["lines"]] + again.lines
            assert told == ["c", "d", "e"]


async def test_a_following_that_its_client_ends_tells_nothing_more() -> None:
    async with stage() as s, s.follower() as f:
        key = await s.create(f.client)
        follow_id = (await f.follow(key))["follow_id"]
        event, body = await f.client.request("unfollow_container_logs", {"follow_id": follow_id})
        assert (event, body) == ("container_logs_unfollowed", {"follow_id": follow_id})
        s.speaker.say("nobody hears this")
        await anyio.sleep(0.1)
        assert (f.lines, f.ends) == ([], [])
        event, body = await f.client.request("unfollow_container_logs", {"follow_id": follow_id})
        assert (event, body["error_type"]) == ("error", "validation_error")


async def test_followings_of_one_client_are_limited_and_end_with_it() -> None:
    async with stage() as s:
        async with s.follower() as f:
            key = await s.create(f.client)
            for _ in range(OF_ONE):
                await f.follow(key)
            payload = {"container_id": key, "follow": True}
            event, body = await f.client.request("get_container_logs", payload)
            assert (event, body["error_type"]) == ("error", "system_error")
            assert body["details"]["retryable"]
        async with s.follower() as f:
            for _ in range(OF_ONE):
                await f.follow(key)


async def test_nothing_is_followed_for_a_client_that_left_before_its_request_was_done() -> None:
    async with stage() as s, s.follower() as f:
        await s.create(f.client)
        assert s.door.frontend is not None
        told: list[Any] = []

        async def outlet(event: Any) -> None:
            told.append(event)

        manager: Any = s.door.frontend._gateway
        session = manager.session(Client("test", "1"), outlet)
        session.close()
        answer = await session.answer("get_container_logs", {"container_id": "one", "follow": True})
        assert answer.body["error_type"] == "system_error"
        s.speaker.say("nobody hears this")
        await anyio.sleep(0.05)
        assert told == []


async def test_a_stream_that_breaks_is_opened_anew_without_gap_or_repeat() -> None:
    async with stage() as s, s.follower() as f:
        key = await s.create(f.client)
        await f.follow(key)
        s.speaker.say("before")
        await until(lambda: f.lines == ["before"])
        s.engine.faults["follow_logs"] = EngineError("the stream broke")
        await anyio.sleep(0.05)
        s.speaker.say("meanwhile")
        s.engine.faults.clear()
        await until(lambda: f.lines == ["before", "meanwhile"])


async def test_who_is_not_a_client_of_a_frontend_cannot_follow() -> None:
    async with stage() as s, s.follower() as f:
        await s.create(f.client)
        assert s.door.frontend is not None
        manager = s.door.frontend._gateway
        answer = await manager.execute("get_container_logs", {"container_id": "one"})  # type: ignore[attr-defined]
        assert answer["lines"] == []
        assert json.dumps(answer)
        with pytest.raises(Exception, match="follow"):
            await manager.execute(  # type: ignore[attr-defined]
                "get_container_logs", {"container_id": "one", "follow": True}
            )


@pytest.mark.parametrize("cursor", ["", "x", 5, "2026-01-01T00:00:00Z", "2026-01-01/-1", "/3"])
async def test_a_cursor_that_is_none_is_refused(cursor: Any) -> None:
    async with stage() as s, s.follower() as f:
        key = await s.create(f.client)
        event, body = await f.client.request(
            "get_container_logs", {"container_id": key, "cursor": cursor}
        )
        assert (event, body["details"]["errors"][0]["field"]) == ("error", "cursor")
        both = {"container_id": key, "cursor": "2026-01-01T00:00:00Z/0", "since": 5}
        event, body = await f.client.request("get_container_logs", both)
        assert (event, body["details"]["errors"][0]["field"]) == ("error", "cursor")


START = datetime(2026, 1, 1, tzinfo=UTC)


def line(text: str, milliseconds: int) -> LogLine:
    return LogLine(START + timedelta(milliseconds=milliseconds), "stdout", text)


def test_a_cursor_counts_the_lines_of_one_moment() -> None:
    lines = [line("a", 0), line("b", 1), line("c", 1)]
    cursor = after(LogCursor(START, 0), lines)
    assert cursor == LogCursor(START + timedelta(milliseconds=1), 2)
    cursor = after(cursor, [line("d", 1)])
    assert cursor.count == 3
    assert LogCursor.parse(str(cursor)) == cursor
    passed = Passed(cursor)
    left = [one.line for one in [*lines, line("d", 1), line("e", 1)] if not passed.passes(one)]
    assert left == ["e"]


class Kept(Outlet):
    """The way to one client, of a frontend that keeps what is told."""

    def __init__(self) -> None:
        self.told: list[Event] = []

    async def __call__(self, event: Event) -> None:
        self.told.append(event)


async def test_what_a_client_follows_goes_by_its_own_outlet_alone() -> None:
    speaker, mine, other = Speaker(), Kept(), Kept()
    async with MemoryEngine({"speaker": speaker.program}).opened() as engine:
        manager = FlowManager(
            Settings(journal="memory"),
            host=PluginHost(installed=False),
            backend=memory_provider(engine),
            transport=memory_transport_provider(MemoryNetwork()),
        )
        async with manager:
            session = manager.session(Client("test", "1"), mine)
            manager.session(Client("test", "2"), other)
            made = {"image": "speaker", "name": "one", "start": True}
            assert (await session.answer("create_container", made)).ok
            asked = {"container_id": "one", "follow": True}
            assert (await session.answer("get_container_logs", asked)).ok
            with anyio.fail_after(10):
                while speaker.flow is None:
                    await anyio.sleep(0.005)
                speaker.say("for whom it is")
                while not mine.told:
                    await anyio.sleep(0.005)
            (told,) = mine.told
            assert isinstance(told, ContainerLogged)
            assert [line["line"] for line in told.lines] == ["for whom it is"]
            assert other.told == []
