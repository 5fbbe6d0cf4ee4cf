"""The port: whose it is, who may wait at it, and what the log says of those turned away."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

import anyio
import pytest

from flow_manager_core.errors import ConfigurationError
from flow_manager_core.socket_stream import SocketStream
from flow_manager_tcp.settings import PORT, TcpSettings
from plugins.tcp.tests.tcp_peer import (
    auth,
    dial,
    echo,
    ends,
    folder,
    hear,
    join,
    refusal,
    says,
    transport_at,
    until,
    where,
)

pytestmark = pytest.mark.anyio


async def test_a_port_that_is_taken_stops_the_start_by_name(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"127.0.0.1:{port}.*in use") as refused:
            async with transport_at(tmp_path, port=port):
                raise AssertionError("it began")
    (fault,) = refused.value.faults
    assert fault.field == "tcp.port"


async def test_an_address_that_is_not_ours_stops_the_start_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"192\.0\.2\.1") as refused:
        async with transport_at(tmp_path, host="192.0.2.1"):
            raise AssertionError("it began")
    (fault,) = refused.value.faults
    assert fault.field == "tcp.host"


async def test_the_port_is_free_again_at_once_though_connections_were_open(
    tmp_path: Path,
) -> None:
    for _ in range(3):
        async with transport_at(tmp_path) as transport:
            endpoint = await transport.open("flow", echo)
            stream = await join(endpoint.attachment(isolated=False))
        await stream.aclose()


async def test_a_port_that_was_chosen_freely_is_kept_over_the_lives(tmp_path: Path) -> None:
    found = []
    for _ in range(3):
        async with transport_at(tmp_path) as transport:
            endpoint = await transport.open("flow", echo)
            found.append(where(endpoint.attachment(isolated=True)))
    assert len(set(found)) == 1
    assert (folder(tmp_path) / "port").read_text() == f"{found[0][1]}\n"


@pytest.mark.parametrize("text", ["none", "0", "65536", ""])
async def test_a_kept_port_that_is_no_port_stops_the_start(tmp_path: Path, text: str) -> None:
    async with transport_at(tmp_path):
        pass
    (folder(tmp_path) / "port").write_text(text)
    with pytest.raises(ConfigurationError, match="holds no port"):
        async with transport_at(tmp_path):
            raise AssertionError("it began")


async def test_flows_are_given_the_address_that_is_advertised(tmp_path: Path) -> None:
    settings = {"host": "0.0.0.0", "advertise": "manager.example"}
    async with transport_at(tmp_path, **settings) as transport:
        endpoint = await transport.open("flow", echo)
        attachment = endpoint.attachment(isolated=True)
        assert attachment.environment["FLOW_SOCKET"].startswith("tcp://manager.example:")
        assert endpoint.address == f"{attachment.environment['FLOW_SOCKET']}#flow"


@pytest.mark.parametrize("host", ["::1", "::"])
async def test_an_ipv6_address_stands_in_brackets(tmp_path: Path, host: str) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    async with transport_at(tmp_path, host=host, advertise="::1") as transport:
        attachment = (await transport.open("flow", echo)).attachment(isolated=False)
        assert attachment.environment["FLOW_SOCKET"].startswith("tcp://[::1]:")
        async with await join(attachment) as stream:
            await says(stream, b"over six")


async def test_a_container_is_not_given_a_loopback_address_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with transport_at(tmp_path) as transport:
        endpoint = await transport.open("flow", echo)
        endpoint.attachment(isolated=False)
        assert "loopback" not in caplog.text
        endpoint.attachment(isolated=True)
    assert "cannot reach a loopback address" in caplog.text


async def test_one_who_waits_too_many_ends_the_oldest_and_a_flow_gets_in(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with transport_at(tmp_path, max_pending=3, auth_timeout=60) as transport:
        attachment = (await transport.open("flow", echo)).attachment(isolated=False)
        idle = [dial(attachment) for _ in range(3)]
        async with await join(attachment) as stream:
            await ends(idle[0])
            await says(stream, b"in")
        for one in idle[1:]:
            await one.send(auth(attachment.environment["FLOW_SECRET"]))
            assert (await hear(one))["command"] == "welcome"
        for one in idle:
            await one.aclose()
    assert "too many wait" in caplog.text


async def test_a_crowd_that_says_nothing_costs_no_more_than_the_limit(tmp_path: Path) -> None:
    async with transport_at(tmp_path, max_pending=5, auth_timeout=60) as transport:
        attachment = (await transport.open("flow", echo)).attachment(isolated=False)
        async with await join(attachment) as stream:
            before = len(os.listdir("/proc/self/fd"))
            crowd = [dial(attachment) for _ in range(100)]
            await until(lambda: len(os.listdir("/proc/self/fd")) <= before + len(crowd) + 5)
            await says(stream, b"unhurt")
        for one in crowd:
            await one.aclose()


async def test_connections_over_a_flows_limit_are_refused_and_no_other_flow_is_hurt(
    tmp_path: Path,
) -> None:
    async with transport_at(tmp_path, max_connections=2) as transport:
        attachment = (await transport.open("flow", echo)).attachment(isolated=False)
        other = (await transport.open("other", echo)).attachment(isolated=False)
        held = [await join(attachment) for _ in range(2)]
        async with dial(attachment) as stream:
            await stream.send(auth(attachment.environment["FLOW_SECRET"]))
            assert await refusal(stream) == "The flow has too many connections"
        async with await join(other) as stream:
            await says(stream, b"unhurt")
        await held.pop().aclose()
        await says(held[0], b"still in")
        with anyio.fail_after(5):
            while not await gets_in(attachment):
                await anyio.sleep(0.01)
        await held[0].aclose()


async def gets_in(attachment: Any) -> bool:
    async with dial(attachment) as stream:
        await stream.send(auth(attachment.environment["FLOW_SECRET"]))
        return bool((await hear(stream))["command"] == "welcome")


async def test_a_guesser_fills_no_log_and_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with transport_at(tmp_path) as transport:
        attachment = (await transport.open("flow", echo)).attachment(isolated=False)
        for number in range(100):
            connection = socket.create_connection(where(attachment))
            host, port = connection.getsockname()
            async with SocketStream(connection) as stream:
                await stream.send(auth(f"guess {number}"))
                await refusal(stream)
            if number == 0:
                assert f"peer={host}:{port}" in caplog.text
    told = [r for r in caplog.records if "A connection was refused" in r.getMessage()]
    assert len(told) == 1
    assert "guess" not in caplog.text


async def test_one_who_only_looks_whether_the_port_is_open_is_no_news(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with transport_at(tmp_path) as transport:
        attachment = (await transport.open("flow", echo)).attachment(isolated=False)
        for _ in range(20):
            await dial(attachment).aclose()
        async with await join(attachment) as stream:
            await says(stream, b"in")
    assert "refused" not in caplog.text


async def test_without_descriptors_the_manager_waits_says_it_once_and_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with transport_at(tmp_path) as transport:
        attachment = (await transport.open("flow", echo)).attachment(isolated=False)
        connection = socket.socket()
        taken = []
        try:
            while True:
                taken.append(os.dup(0))
        except OSError:
            connection.connect(where(attachment))
        await until(lambda: "cannot be accepted" in caplog.text)
        busy = time.process_time()
        await anyio.sleep(0.5)
        assert time.process_time() - busy < 0.25
        for descriptor in taken:
            os.close(descriptor)
        async with SocketStream(connection) as stream:
            await stream.send(auth(attachment.environment["FLOW_SECRET"]))
            assert (await hear(stream))["command"] == "welcome"
    assert caplog.text.count("cannot be accepted") == 1


async def test_two_hundred_flows_leave_no_descriptor_behind(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    async with transport_at(tmp_path) as transport:
        for number in range(200):
            endpoint = await transport.open(f"flow-{number}", echo)
            async with await join(endpoint.attachment(isolated=False)) as stream:
                await says(stream, b"used")
            await endpoint.close(remove=True)
        await until(lambda: len(os.listdir("/proc/self/fd")) <= before + 8)
    assert [path.name for path in folder(tmp_path).iterdir()] == ["port"]


async def test_lives_leave_nothing_behind(no_leaks: Any, tmp_path: Path) -> None:
    for _ in range(10):
        async with transport_at(tmp_path) as transport:
            attachment = (await transport.open("flow", echo)).attachment(isolated=False)
            idle, joined = dial(attachment), await join(attachment)
            await says(joined, b"used")
        for stream in (idle, joined):
            await ends(stream)
            await stream.aclose()


async def test_dead_hosts_are_noticed_and_small_messages_do_not_wait(tmp_path: Path) -> None:
    found = []

    async def look(stream: Any) -> None:
        ours = stream._socket
        for level, name in (
            (socket.IPPROTO_TCP, "TCP_NODELAY"),
            (socket.SOL_SOCKET, "SO_KEEPALIVE"),
            (socket.IPPROTO_TCP, "TCP_KEEPIDLE"),
        ):
            found.append(ours.getsockopt(level, getattr(socket, name)))

    async with transport_at(tmp_path) as transport:
        attachment = (await transport.open("flow", look)).attachment(isolated=False)
        async with await join(attachment) as stream:
            await ends(stream)
    assert found == [1, 1, 30]


async def test_all_flows_may_come_back_at_one_moment(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with transport_at(tmp_path) as transport, anyio.create_task_group() as tasks:
        for number in range(200):
            endpoint = await transport.open(f"flow-{number}", echo)
            tasks.start_soon(comes_back, endpoint.attachment(isolated=False))
    assert "refused" not in caplog.text


async def comes_back(attachment: Any) -> None:
    async with await join(attachment) as stream:
        await says(stream, b"back")


def test_the_default_port_is_none_that_outgoing_connections_get() -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert TcpSettings().port == PORT < lowest


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"host": "localhost"}, "host"),
        ({"host": ""}, "host"),
        ({"host": "fe80::1%lo"}, "host"),
        ({"host": "0.0.0.0"}, "advertise"),
        ({"host": "::"}, "advertise"),
        ({"advertise": "0.0.0.0"}, "advertise"),
        ({"advertise": "a b"}, "advertise"),
        ({"advertise": "host:80"}, "advertise"),
        ({"advertise": "user@host"}, "advertise"),
        ({"advertise": "-host"}, "advertise"),
        ({"port": -1}, "port"),
        ({"port": 65536}, "port"),
        ({"max_pending": 0}, "max_pending"),
        ({"auth_timeout": 0}, "auth_timeout"),
        ({"auth_timeout": float("nan")}, "auth_timeout"),
        ({"max_connections": 0}, "max_connections"),
    ],
)
def test_a_setting_that_cannot_be_is_named(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=f"'{named}' must be"):
        TcpSettings(**settings)
