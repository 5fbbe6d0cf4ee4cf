"""Events reach the clients that want them; one that does not read is dropped, alone."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from flow_manager_core.bus import LIMIT
from flow_manager_core.events import ContainerLogged, MessageReceived
from flow_manager_socketio.settings import SocketIOSettings

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def log_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    """The log tells when a client was dropped."""
    caplog.set_level(logging.INFO, "flow_manager")


TOKEN = "a token of some length"


async def test_event_reaches_every_client_with_its_body(serving: Any, meeting: Any) -> None:
    async with serving() as served, meeting(served) as one, meeting(served) as two:
        served.gateway.publish("a" * 64)
        body = await one.hears("status_changed")
        assert await two.hears("status_changed") == body
        assert body["container_id"] == "a" * 12
        assert (body["old_state"], body["new_state"]) == ("created", "running")
        assert body["timestamp"].endswith("Z")


async def test_events_keep_their_order(serving: Any, meeting: Any) -> None:
    async with serving() as served, meeting(served) as person:
        for number in range(200):
            served.gateway.publish(f"{number:012}")
        await person.hears("status_changed", 200)
        ids = [int(body["container_id"]) for body in person.bodies("status_changed")]
        assert ids == list(range(200))


async def test_client_gets_the_events_it_chose(serving: Any, meeting: Any) -> None:
    async with serving() as served:
        chosen = {"token": TOKEN, "events": ["message_received"]}
        none = {"token": TOKEN, "events": []}
        async with meeting(served, auth=chosen) as one, meeting(served, auth=none) as two:
            served.gateway.publish()
            said = MessageReceived(container_id="c", message={"command": "hi", "data": 2**70})
            served.gateway.bus.publish(said)
            body = await one.hears("message_received")
            assert body["message"] == {"command": "hi", "data": 2**70}
            await two.ask("echo", 1)
            assert "status_changed" not in one.names()
            assert two.names() == ["connected", "echoed"]


async def test_event_that_json_cannot_say_does_not_stop_the_others(
    serving: Any, meeting: Any
) -> None:
    async with serving() as served, meeting(served) as person:
        said = MessageReceived(container_id="c", message={"command": "hi", "data": object()})
        served.gateway.bus.publish(said)
        served.gateway.publish()
        await person.hears("status_changed")


async def test_clients_are_told_when_events_were_lost(serving: Any, meeting: Any) -> None:
    async with serving() as served, meeting(served) as person:
        for _ in range(LIMIT + 1):
            served.gateway.publish()
        error = await person.hears("error")
        assert "Events were lost" in error["message"]
        served.gateway.publish("next")
        assert (await person.hears("status_changed"))["container_id"] == "next"


async def _until_dropped(caplog: pytest.LogCaptureFixture) -> None:
    with anyio.fail_after(10):
        while "does not read" not in caplog.text:
            await anyio.sleep(0.01)


async def test_client_that_does_not_read_is_dropped_and_no_other_notices(
    serving: Any, meeting: Any, deaf_client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    big = {"command": "big", "data": "x" * 50_000}
    async with serving(SocketIOSettings(client_queue=50)) as served, meeting(served) as person:
        with deaf_client(served) as deaf:
            await deaf.enter()
            sent = 0
            with anyio.fail_after(10):
                while "does not read" not in caplog.text:
                    served.gateway.bus.publish(MessageReceived(container_id="c", message=big))
                    sent += 1
                    await person.hears("message_received", sent)
            assert await person.ask("echo", 1) == {"payload": 1}
            with anyio.fail_after(10):
                while caplog.text.count("Client disconnected") < 1:
                    await anyio.sleep(0.01)
            await _connection_gone(served)
        served.gateway.publish()
        await person.hears("status_changed")
        assert len(person.bodies("message_received")) == sent


async def _connection_gone(served: Any) -> None:
    """Wait until the process holds one connection less: the deaf client's was aborted."""
    import psutil

    def held() -> int:
        found = psutil.Process().net_connections("tcp")
        return len([c for c in found if c.laddr.port == served.port and c.status != "LISTEN"])

    with anyio.fail_after(10):
        while held() > 1:
            await anyio.sleep(0.02)


async def test_client_that_asks_and_does_not_read_is_dropped(
    serving: Any, meeting: Any, deaf_client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    own = SocketIOSettings(
        client_queue=100_000, client_queue_bytes=200_000, request_burst=1_000_000
    )
    async with serving(own) as served, meeting(served) as person:
        with deaf_client(served) as deaf:
            await deaf.enter()
            with anyio.fail_after(60), suppress(OSError):
                while "does not read" not in caplog.text:
                    await deaf.say(*['42["' + "n" * 100 + '",{}]'] * 20)
            await _until_dropped(caplog)
            assert await person.ask("echo", 1) == {"payload": 1}


async def test_slow_client_that_reads_again_is_told_why(
    serving: Any, deaf_client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    big = {"command": "big", "data": "x" * 50_000}
    async with serving(SocketIOSettings(client_queue=50)) as served:
        with deaf_client(served) as slow:
            await slow.enter()
            with anyio.fail_after(10):
                while "does not read" not in caplog.text:
                    served.gateway.bus.publish(MessageReceived(container_id="c", message=big))
                    await anyio.lowlevel.checkpoint()
            await slow.reads(b"reads too slowly")


async def test_polling_client_that_stops_polling_is_dropped(
    serving: Any, raw: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(SocketIOSettings(client_queue=50)) as served:
        client = raw(served)
        await client.open_polling()
        await client.post('40{"token":"a token of some length"}')
        for _ in range(60):
            served.gateway.publish()
        await _until_dropped(caplog)
        with anyio.fail_after(5):
            while "Client disconnected" not in caplog.text:
                await anyio.sleep(0.01)


async def test_event_is_written_for_as_long_as_somebody_hears_it(
    serving: Any, meeting: Any, gateway: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    write = gateway.event_json

    def note(event: Any) -> Any:
        written.append(event.container_id)
        return write(event)

    monkeypatch.setattr(gateway, "event_json", note)
    quiet = {"token": TOKEN, "events": ["container_log"]}
    async with serving() as served, meeting(served, quiet) as steady:
        served.gateway.publish("unheard")
        async with meeting(served) as passing:
            served.gateway.publish("heard")
            await passing.hears("status_changed")
        with anyio.fail_after(10):
            while not served.gateway.left:
                await anyio.sleep(0.01)
        served.gateway.publish("missed")
        await steady.ask("echo", 1)
        served.gateway.bus.publish(
            ContainerLogged(container_id="last", follow_id="f", lines=[], cursor="")
        )
        await steady.hears("container_log")
    assert written == ["heard", "last"]
