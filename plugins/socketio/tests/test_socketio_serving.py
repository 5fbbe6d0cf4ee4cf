"""The server: addresses, plain HTTP, and a clean end whatever clients do."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
import time
from contextlib import AsyncExitStack, suppress
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from engineio.packet import Packet as EnginePacket
from socketio.packet import Packet
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from flow_manager_core.errors import ConfigurationError
from flow_manager_core.events import MessageReceived
from flow_manager_core.log import get_log
from flow_manager_core.providers import ProviderContext
from flow_manager_core.setting_values import build_settings
from flow_manager_core.settings import Settings
from flow_manager_socketio import plugin
from flow_manager_socketio.app import SocketIOApp
from flow_manager_socketio.frontend import serve
from flow_manager_socketio.server import HttpServer, bind, url_of
from flow_manager_socketio.settings import SocketIOSettings

pytestmark = pytest.mark.anyio
TOKEN = "a token of some length"


async def get(raw_client: Any, path: str, method: str = "GET") -> tuple[int, Any]:
    async with raw_client.http.request(method, raw_client.url + path) as response:
        assert response.content_type == "application/json"
        return response.status, await response.json()


async def test_health_needs_no_token(serving: Any, raw: Any) -> None:
    async with serving() as served:
        status, body = await get(raw(served), "/health")
        assert (status, body["status"], body["service"]) == (200, "healthy", "flow-manager")
        served.gateway.healthy = False
        assert await get(raw(served), "/health") == (503, {**body, "status": "degraded"})


async def test_answers_carry_the_date_of_now(serving: Any, raw: Any) -> None:
    async with serving() as served:

        async def date() -> str:
            async with raw(served).http.get(raw(served).url + "/health") as response:
                return str(response.headers["Date"])

        first = await date()
        with anyio.fail_after(10):
            while await date() == first:
                await anyio.sleep(0.1)


async def test_failing_health_is_a_system_error(
    serving: Any, raw: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving() as served:

        async def fail() -> None:
            raise RuntimeError("secret")

        monkeypatch.setattr(served.gateway, "health", fail)
        status, body = await get(raw(served), "/health")
        assert (status, body["error_type"]) == (500, "system_error")
        assert "secret" not in json.dumps(body)


async def test_unknown_path_and_method_are_standard_errors(serving: Any, raw: Any) -> None:
    async with serving() as served:
        status, body = await get(raw(served), "/nothing")
        assert (status, body["error"], body["error_type"]) == (404, True, "validation_error")
        status, body = await get(raw(served), "/health", "POST")
        assert (status, body["error_type"]) == (405, "validation_error")


async def test_error_bodies_carry_the_media_type_of_their_format_and_the_status_they_are_sent_with(
    serving: Any, raw: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving() as served:
        standard = served.gateway.error_body
        monkeypatch.setattr(served.gateway, "error_media_type", "application/problem+json")
        monkeypatch.setattr(
            served.gateway, "error_body", lambda error: {"status": 422, **standard(error)}
        )
        client = raw(served)
        for path, host, status in [("/nothing", "", 404), ("/health", "evil.example", 403)]:
            headers = {"Host": host} if host else {}
            async with client.http.get(client.url + path, headers=headers) as response:
                body = await response.json(content_type="application/problem+json")
                assert (response.status, body["status"]) == (status, status)
        async with client.http.get(client.url + "/health") as response:
            assert response.content_type == "application/json"
            assert (await response.json())["status"] == "healthy"


async def test_port_zero_is_any_free_port(serving: Any) -> None:
    async with serving() as one, serving() as two:
        assert one.port != two.port
        assert one.url.startswith("http://127.0.0.1:")


async def test_no_answer_waits_for_the_clients_acknowledgement() -> None:
    for listener in await bind("localhost", 0):
        # asyncio looks at this to turn Nagle's algorithm off; with it, answers take 40 ms.
        assert listener.proto == socket.IPPROTO_TCP
        listener.close()


async def test_taken_port_is_named(serving: Any) -> None:
    async with serving() as served:
        with pytest.raises(
            ConfigurationError, match=f"{served.port} on 127.0.0.1 is already in use"
        ):
            await bind("127.0.0.1", served.port)


@pytest.mark.parametrize("port", [-1, 65536])
async def test_impossible_port_is_named(port: int) -> None:
    with pytest.raises(ConfigurationError, match="from 0 to 65535"):
        await bind("127.0.0.1", port)


async def test_port_can_be_used_again_at_once(serving: Any, meeting: Any) -> None:
    async with serving() as served, meeting(served):
        port = served.port
    async with serving(port=port) as served, meeting(served) as person:
        assert await person.ask("echo", 1) == {"payload": 1}


@pytest.mark.parametrize("host", ["no.such.host.invalid", "203.0.113.7"])
async def test_impossible_host_is_named(host: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        await bind(host, 0)
    assert caught.value.faults[0].field == "host"
    assert host in caught.value.message


async def test_name_is_served_on_all_its_addresses() -> None:
    sockets = await bind("localhost", 0)
    ports = {listener.getsockname()[1] for listener in sockets}
    for listener in sockets:
        listener.close()
    assert len(ports) == 1


async def test_ipv6_is_served(serving: Any, meeting: Any) -> None:
    if not _has_ipv6():
        pytest.skip("this machine has no IPv6")
    async with serving(host="::1") as served, meeting(served) as person:
        assert served.url.startswith("http://[::1]:")
        assert await person.ask("echo", 1) == {"payload": 1}


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def test_wrong_settings_are_listed() -> None:
    given = {"client_queue": 0, "ping_timeout": -1.0}
    _, faults = build_settings(SocketIOSettings, given)
    assert {fault.field for fault in faults} == given.keys()
    with pytest.raises(ValueError, match="client_queue"):
        SocketIOSettings(client_queue=0)


async def test_clients_hear_of_the_end_and_may_come_back(serving: Any, meeting: Any) -> None:
    async with AsyncExitStack() as stack:
        async with serving() as served:
            port = served.port
            person = await stack.enter_async_context(
                meeting(served, reconnection=True, transports=["polling", "websocket"])
            )
            begun = time.monotonic()
        assert time.monotonic() - begun < 3
        await person.hears("disconnected")
        async with serving(port=port):
            await person.hears("connected", 2)
            assert await person.ask("echo", 1) == {"payload": 1}
            await person.sio.shutdown()


async def test_end_is_bounded_with_every_kind_of_client(
    serving: Any, meeting: Any, raw: Any
) -> None:
    async with AsyncExitStack() as stack:
        async with serving() as served:
            person = await stack.enter_async_context(meeting(served))
            polling = raw(served)
            await polling.open_polling()
            await polling.post("40" + json.dumps({"token": TOKEN}))
            await polling.get()
            hanging = asyncio.create_task(polling.get())
            silent = await _connected(stack, served.port, b"")
            half = await _connected(stack, served.port, b"POST /socket.io/ HTTP/1.1\r\nHost: l")
            await person.sio.emit("wait", {"n": 1})
            await person.until(lambda: served.gateway.asked)
            begun = time.monotonic()
        assert time.monotonic() - begun < 3
        assert await hanging == ["6"]
        assert await silent.read() == b""
        assert b"200" not in await half.read()
        error = await person.hears("error")
        assert error["message"] == "The service is closing"


async def _connected(stack: AsyncExitStack, port: int, said: bytes) -> asyncio.StreamReader:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(said)
    stack.push_async_callback(_hang_up, writer)
    return reader


async def _hang_up(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()


async def test_nothing_is_left_behind(serving: Any, meeting: Any, no_leaks: None) -> None:
    before = asyncio.all_tasks()
    for _ in range(5):
        async with serving() as served, meeting(served) as one, meeting(served):
            await one.ask("echo", 1)
    assert asyncio.all_tasks() == before


async def test_exception_of_the_host_comes_out_as_it_is(serving: Any) -> None:
    with pytest.raises(KeyError, match="the host's own"):
        async with serving():
            raise KeyError("the host's own")


async def test_end_by_cancellation_is_as_clean(serving: Any, meeting: Any, no_leaks: None) -> None:
    before = asyncio.all_tasks()
    with anyio.CancelScope() as scope:
        async with serving() as served, meeting(served) as person:
            await person.ask("echo", 1)
            scope.cancel()
            await anyio.sleep_forever()
    assert asyncio.all_tasks() == before


async def test_two_frontends_live_in_one_process(serving: Any, meeting: Any, gateway: Any) -> None:
    other = type(gateway)()
    async with (
        serving() as one,
        serving(other=other) as two,
        meeting(one) as first,
        meeting(two) as second,
    ):
        one.gateway.publish("first")
        two.gateway.publish("second")
        assert (await first.hears("status_changed"))["container_id"] == "first"
        assert (await second.hears("status_changed"))["container_id"] == "second"


async def test_nothing_global_is_touched(serving: Any, meeting: Any) -> None:
    def globals_now() -> list[Any]:
        loggers = [logging.getLogger(n) for n in _LOGGERS]
        kept = [(log.level, list(log.handlers), log.propagate) for log in loggers]
        signals = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
        return [kept, signals, Packet.json, EnginePacket.json]

    before = globals_now()
    async with serving() as served, meeting(served) as person:
        await person.ask("echo", 1)
        assert globals_now()[1:] == before[1:]
    # A client of python-socketio sets the level of its own loggers; the server's must not change.
    assert globals_now()[0] == before[0]


_LOGGERS = ["", "socketio.server", "engineio.server", "uvicorn", "uvicorn.error", "uvicorn.access"]


async def test_secrets_in_packets_stay_out_of_the_log(
    serving: Any, meeting: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "flow_manager")
    caplog.set_level(logging.DEBUG, "uvicorn")
    async with serving() as served, meeting(served) as person:
        await person.ask("echo", {"environment": {"KEY": "canary"}})
    assert "canary" not in caplog.text
    assert TOKEN not in caplog.text


async def test_plugin_offers_the_frontend(gateway: Any) -> None:
    [provider] = plugin.flow_manager_frontends()
    assert provider.name == "socketio"
    context = ProviderContext(
        provider.settings_class(), Settings(port=0, token=TOKEN), get_log("socketio")
    )
    async with provider.factory(context, gateway) as frontend:
        assert len(frontend.addresses) == 1


async def test_app_can_be_mounted_in_a_host(gateway: Any, meeting: Any, raw: Any) -> None:
    flows = SocketIOApp(gateway, Settings(token=TOKEN))
    host = Starlette(
        routes=[Route("/", lambda _: PlainTextResponse("host")), Mount("/flows", flows)]
    )
    sockets = await bind("127.0.0.1", 0)
    served = type("Served", (), {"url": url_of(sockets[0]), "gateway": gateway})()
    async with HttpServer(1_000_000).serving(host, sockets):
        status, body = await get(raw(served), "/flows/health")
        assert (status, body["details"]["retryable"]) == (503, True)
        async with flows.running():
            assert (await get(raw(served), "/flows/health"))[0] == 200
            for transport in ("websocket", "polling"):
                options = {"socketio_path": "/flows/socket.io", "transports": [transport]}
                async with meeting(served, **options) as person:
                    assert await person.ask("echo", 1) == {"payload": 1}
                    gateway.publish()
                    await person.hears("status_changed")


async def test_client_of_a_mounted_app_that_does_not_read_is_let_go(
    gateway: Any, deaf_client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The host's server gives no way to drop a connection: what the app holds must end anyway."""
    flows = SocketIOApp(gateway, Settings(token=TOKEN), SocketIOSettings(client_queue=50))
    sockets = await bind("127.0.0.1", 0)
    served = type("Served", (), {"url": url_of(sockets[0])})()
    said = MessageReceived(container_id="c", message={"command": "b", "data": "x" * 50_000})
    async with HttpServer(1_000_000).serving(flows, sockets), flows.running():
        with deaf_client(served) as deaf, anyio.fail_after(10):
            await deaf.enter()
            while "does not read" not in caplog.text:
                gateway.bus.publish(said)
                await anyio.lowlevel.checkpoint()
            while len(_tasks_of_connections()) > 0:
                await anyio.sleep(0.05)


def _tasks_of_connections() -> list[Any]:
    return [t for t in asyncio.all_tasks() if "run_asgi" in str(t) or "writer" in str(t)]


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_trio_is_refused_with_a_reason(gateway: Any) -> None:
    context = ProviderContext(SocketIOSettings(), Settings(port=0, token=TOKEN), get_log("s"))
    with pytest.raises(ConfigurationError, match="asyncio alone"):
        async with serve(context, gateway):
            raise AssertionError("it started")
