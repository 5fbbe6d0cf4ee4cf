"""Too much of a good thing: limits for each client, and neighbours that do not notice."""

from __future__ import annotations

import json
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import anyio
import psutil
import pytest

from flow_manager_socketio.pace import Pace
from flow_manager_socketio.settings import SocketIOSettings
from tests.e2e.service import Service
from tests.support.socketio_wire import PING, TEXT, Ended, Wire, assert_clean, frame, port_of

TOKEN = "a token of some length"


def test_pace_allows_the_burst_and_then_the_rate() -> None:
    pace = Pace(rate=100.0, burst=10)
    assert [pace.wait("a", 0.0) for _ in range(10)] == [0.0] * 10
    assert pace.wait("a", 0.0) == pytest.approx(0.01)
    assert pace.wait("a", 0.0) == pytest.approx(0.02)
    assert pace.wait("b", 0.0) == 0.0
    assert pace.wait("a", 0.05) == 0.0
    pace.forget("a")
    assert pace.wait("a", 0.05) == 0.0


def test_pace_of_a_busy_client_is_no_brake_by_default() -> None:
    default = SocketIOSettings()
    pace = Pace(default.request_rate, default.request_burst)
    assert sum(pace.wait("a", number / 2_500) for number in range(50_000)) == 0.0


@pytest.fixture
def anyio_backend() -> str:
    """The frontend is asyncio's alone."""
    return "asyncio"


@pytest.mark.anyio
async def test_client_that_asks_too_quickly_is_read_later_and_stays_through_its_pings(
    serving: Any, raw: Any
) -> None:
    """Its pongs wait behind 1.5 seconds of its own requests, longer than it may take for one."""
    own = SocketIOSettings(request_rate=100, request_burst=10, ping_interval=0.2, ping_timeout=0.3)
    async with serving(own) as served:
        client = raw(served)
        await client.open_websocket()
        await client.enter()
        begun = anyio.current_time()
        for number in range(160):
            await client.send(f'42{number}["echo",{number}]')
        answered = 0
        while answered < 160:
            packet = await client.receive()
            assert packet is not None
            if packet == "2":
                await client.send("3")
            answered += packet.startswith("43")
        assert anyio.current_time() - begun > 1.2
        assert [payload for _, payload in served.gateway.asked] == list(range(160))


@pytest.mark.anyio
async def test_client_beyond_the_most_is_refused_with_the_standard_error(
    serving: Any, raw: Any, meeting: Any
) -> None:
    async with serving(SocketIOSettings(max_clients=1)) as served:
        async with meeting(served):
            client = raw(served)
            await client.open_websocket()
            await client.send("40" + json.dumps({"token": TOKEN}))
            refused = json.loads((await client.receive_until("44"))[2:])
            assert refused["data"]["error_type"] == "system_error"
            assert refused["data"]["details"]["retryable"] is True
        async with meeting(served) as person:
            assert await person.ask("echo", 1) == {"payload": 1}


@pytest.mark.anyio
async def test_polling_client_that_never_polls_is_let_go(serving: Any, raw: Any) -> None:
    own = SocketIOSettings(ping_interval=0.2, ping_timeout=0.2, client_queue=50)
    async with serving(own) as served:
        client = raw(served)
        await client.open_polling()
        assert await client.post("40" + json.dumps({"token": TOKEN})) == 200
        with anyio.fail_after(10):
            while await client.post('42["echo",1]') == 200:
                served.gateway.publish()
                await anyio.sleep(0.01)


@pytest.mark.anyio
async def test_session_has_a_few_requests_at_once_and_no_more(serving: Any, raw: Any) -> None:
    async with serving() as served, anyio.create_task_group() as group:
        client = raw(served)
        await client.open_polling()
        assert await client.post("40" + json.dumps({"token": TOKEN})) == 200
        await client.get()

        async def poll() -> None:
            async with client.http.get(client._at("polling")) as response:
                statuses.append(response.status)

        statuses: list[int] = []
        for _ in range(10):
            group.start_soon(poll)
        with anyio.fail_after(5):
            while len(statuses) < 6:
                await anyio.sleep(0.01)
        assert statuses == [400] * 6
        group.cancel_scope.cancel()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A real service, which holds fewer answers than it does by default: that takes less time.

    It has less patience as well: the kernel may bring a client that never reads to a standstill
    before its answers are too many.
    """
    environ = {
        "LOG_LEVEL": "CRITICAL",
        "FLOW_MANAGER_SOCKETIO_CLIENT_QUEUE": "500",
        "FLOW_MANAGER_SOCKETIO_PING_INTERVAL": "4",
        "FLOW_MANAGER_SOCKETIO_PING_TIMEOUT": "4",
    }
    with Service(tmp_path_factory.mktemp("floods"), "process", "python", "", **environ) as running:
        yield running
        assert_clean(running.lines)


def test_a_thousand_requests_at_once_are_all_answered(service: Service) -> None:
    with Wire(port_of(service.url)).enter(service.token) as client:
        packets = (f'42{n}["list_containers",{{}}]'.encode() for n in range(1000))
        client.write(b"".join(frame(TEXT, packet) for packet in packets))
        answered = {json.loads(client.until("43").split("[", 1)[0][2:]) for _ in range(1000)}
        assert answered == set(range(1000))


def flood_without_reading(client: Wire) -> None:
    """Ask for ever, read nothing, until the service has had enough."""
    packet = frame(TEXT, b'421["list_containers",{"x":1}]') * 100
    client.socket.settimeout(60)
    with suppress(Ended):
        while True:
            client.write(packet)


#: How much longer a neighbour's 99th percentile may be during a flood, and from what on, seconds.
RATIO, FLOOR = 50.0, 0.25
#: Bytes that a client which never reads may cost: twice its queue of answers, and buffers.
MEMORY_BOUND = 64 * 1024 * 1024


@pytest.mark.alone
def test_clients_that_ask_and_never_read_are_dropped_and_a_neighbour_hardly_notices(
    service: Service,
) -> None:
    assert service.process is not None
    process = psutil.Process(service.process.pid)
    with Wire(port_of(service.url)).enter(service.token) as neighbour:
        before, quiet = process.memory_info().rss, p99(neighbour)
        clients = [Wire(port_of(service.url), room=4096) for _ in range(2)]
        threads = [
            threading.Thread(target=flood_without_reading, args=(client.enter(service.token),))
            for client in clients
        ]
        for thread in threads:
            thread.start()
        flooded = p99(neighbour)
        for thread in threads:
            thread.join()
        grown = process.memory_info().rss - before
        for client in clients:
            client.socket.close()
    print(
        f"p99 {quiet * 1000:.1f} ms quiet, {flooded * 1000:.1f} ms in a flood: "
        f"{flooded / quiet:.1f} times; {grown >> 20} MiB more"
    )
    assert grown < MEMORY_BOUND
    assert flooded < max(quiet * RATIO, FLOOR)


def p99(client: Wire) -> float:
    """The 99th percentile of some round trips, in seconds."""
    taken = []
    for _ in range(200):
        begun = time.monotonic()
        client.ask("list_containers", {})
        taken.append(time.monotonic() - begun)
    return statistics.quantiles(taken, n=100)[-1]


def test_websocket_pings_whose_pongs_are_never_read_end_the_connection(service: Service) -> None:
    with Wire(port_of(service.url)).enter(service.token) as client:
        client.socket.settimeout(20)
        with pytest.raises(Ended):
            for _ in range(1_000):
                client.write(frame(PING, b"x" * 125) * 1_000)
