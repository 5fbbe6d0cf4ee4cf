"""Who gets in: those who show a flow's secret, to that flow's channel and no other."""

from __future__ import annotations

import logging
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flow_manager_core.contracts import Endpoint, Transport
from flow_manager_core.models import Attachment
from plugins.tcp.tests.tcp_peer import (
    auth,
    dial,
    echo,
    ends,
    exactly,
    frame,
    hear,
    join,
    refusal,
    says,
    transport_at,
    until,
)

pytestmark = pytest.mark.anyio
WELCOME = b'\0\0\0\x21{"command":"welcome","data":null}'


class Listener:
    """A handler that keeps what it gets."""

    def __init__(self) -> None:
        self.connections = 0
        self.heard = b""

    async def __call__(self, stream: ByteStream) -> None:
        self.connections += 1
        async for piece in stream:
            self.heard += piece


async def opened(transport: Transport, name: str = "flow") -> Attachment:
    return (await transport.open(name, echo)).attachment(isolated=True)


async def test_the_environment_names_address_and_secret_and_nothing_is_mounted(
    tmp_path: Path,
) -> None:
    async with transport_at(tmp_path) as transport:
        attachment = await opened(transport)
    variables = attachment.environment
    assert variables["FLOW_SOCKET"] == variables["SOCKET_PATH"]
    assert variables["FLOW_SOCKET"].startswith("tcp://127.0.0.1:")
    assert len(variables["FLOW_SECRET"]) == 43
    assert not attachment.mounts


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (auth("x" * 43), "The secret is wrong"),
        (auth(""), "The secret is wrong"),
        (auth("ü\ud83d\ude00"), "The secret is wrong"),
        (auth(None), "The auth frame has no secret"),
        (auth(["x"]), "The auth frame has no secret"),
        (frame("auth"), "The first frame is not an auth with the flow's secret"),
        (frame("auth", "secret"), "The first frame is not an auth with the flow's secret"),
        (frame("hello", {"protocol": 1}), "The first frame is not an auth with the flow's secret"),
        (b"\0\0\0\0", "The first frame is no message"),
        (b"\0\0\0\5[1,2]", "The first frame is no message"),
        (b"\0\0\0\2\xff\xff", "The first frame is no message"),
        (b"\0\0\x0f\xff" + b"[" * 4095, "The first frame is no message"),
        (b"GET / HTTP/1.1\r\n\r\n", "The first frame has more than 4096 bytes"),
        (auth("x" * 5000), "The first frame has more than 4096 bytes"),
        (b"\xff\xff\xff\xff", "The first frame has more than 4096 bytes"),
    ],
)
async def test_whoever_shows_no_secret_is_told_so_and_reaches_nobody(
    tmp_path: Path, first: bytes, reason: str
) -> None:
    listener = Listener()
    async with transport_at(tmp_path) as transport:
        attachment = (await transport.open("flow", listener)).attachment(isolated=False)
        async with dial(attachment) as stream:
            await stream.send(first)
            assert await refusal(stream) == reason
        async with await join(attachment) as stream:
            await until(lambda: listener.connections == 1)
    assert listener.heard == b""


async def test_who_is_refused_can_read_why_whatever_else_it_sent(tmp_path: Path) -> None:
    async with transport_at(tmp_path) as transport:
        attachment = await opened(transport)
        for _ in range(20):
            async with dial(attachment) as stream:
                await stream.send(auth("wrong") + frame("hello", "x" * 30_000))
                assert await refusal(stream) == "The secret is wrong"


async def test_a_secret_opens_its_own_flows_channel_and_never_anothers(tmp_path: Path) -> None:
    mine, other = Listener(), Listener()
    async with transport_at(tmp_path) as transport:
        first = (await transport.open("mine", mine)).attachment(isolated=True)
        second = (await transport.open("mine.other", other)).attachment(isolated=True)
        assert first.environment["FLOW_SECRET"] != second.environment["FLOW_SECRET"]
        assert first.environment["FLOW_SOCKET"] == second.environment["FLOW_SOCKET"]
        async with await join(second) as stream:
            await stream.send(b"for the other")
            await until(lambda: other.heard == b"for the other")
    assert mine.connections == 0


async def test_a_part_of_a_secret_opens_nothing(tmp_path: Path) -> None:
    async with transport_at(tmp_path) as transport:
        attachment = await opened(transport)
        secret = attachment.environment["FLOW_SECRET"]
        for wrong in (secret[:-1], secret + "x", secret[1:], f" {secret}", secret.swapcase()):
            async with dial(attachment) as stream:
                await stream.send(auth(wrong))
                assert await refusal(stream) == "The secret is wrong"


async def test_a_deleted_flows_secret_opens_nothing_not_even_its_successors_channel(
    tmp_path: Path,
) -> None:
    async with transport_at(tmp_path) as transport:
        endpoint = await transport.open("flow", echo)
        former = endpoint.attachment(isolated=True)
        await endpoint.close(remove=True)
        latter = await opened(transport)
        async with dial(former) as stream:
            await stream.send(auth(former.environment["FLOW_SECRET"]))
            assert await refusal(stream) == "The secret is wrong"
        async with await join(latter) as stream:
            await says(stream, b"the new one")


async def test_a_flow_that_comes_before_its_channel_is_sent_away_and_gets_in_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with transport_at(tmp_path) as transport:
        attachment = await opened(transport)
    async with transport_at(tmp_path) as transport:
        async with dial(attachment) as stream:
            await stream.send(auth(attachment.environment["FLOW_SECRET"]))
            answer = await hear(stream)
            assert answer["data"]["message"] == "The flow's channel is not open"
            assert answer["data"]["details"]["retryable"] is True
            await ends(stream)
        await transport.open("flow", echo)
        async with await join(attachment) as stream:
            await says(stream, b"in")
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING and "secret" in r.msg]
    assert "A connection was refused" not in caplog.text


async def test_what_comes_in_one_piece_with_the_secret_is_the_channels(tmp_path: Path) -> None:
    async with transport_at(tmp_path) as transport:
        attachment = await opened(transport)
        async with dial(attachment) as stream:
            await stream.send(auth(attachment.environment["FLOW_SECRET"]) + b"glued to it")
            assert await exactly(stream, len(WELCOME)) == WELCOME
            assert await exactly(stream, 11) == b"glued to it"


async def test_a_secret_that_comes_byte_by_byte_is_read(tmp_path: Path) -> None:
    async with transport_at(tmp_path) as transport:
        attachment = await opened(transport)
        async with dial(attachment) as stream:
            for byte in auth(attachment.environment["FLOW_SECRET"]):
                await stream.send(bytes([byte]))
            assert await exactly(stream, len(WELCOME)) == WELCOME


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cuts=st.lists(st.integers(1, 110), max_size=8), rest=st.binary(max_size=30))
def test_the_handshake_may_be_cut_anywhere(
    tmp_path: Path, anyio_backend: Any, cuts: list[int], rest: bytes
) -> None:
    async def check() -> None:
        async with transport_at(tmp_path) as transport:
            attachment = await opened(transport)
            whole = auth(attachment.environment["FLOW_SECRET"]) + rest
            edges = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
            async with dial(attachment) as stream:
                for start, end in pairwise(edges):
                    await stream.send(whole[start:end])
                    await anyio.sleep(0)
                await stream.send_eof()
                expected = WELCOME + rest
                assert await exactly(stream, len(expected)) == expected
                await ends(stream)

    name = anyio_backend if isinstance(anyio_backend, str) else anyio_backend[0]
    anyio.run(check, backend=name)


@pytest.mark.parametrize("first", [b"", b"\0", auth("x" * 43)[:-1]], ids=["none", "one", "most"])
async def test_a_secret_that_does_not_come_in_time_ends_the_connection(
    tmp_path: Path, first: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with transport_at(tmp_path, auth_timeout=0.2) as transport:
        async with dial(await opened(transport)) as stream:
            began = anyio.current_time()
            await stream.send(first)
            await ends(stream)
            assert 0.15 < anyio.current_time() - began < 2
    assert "no secret in time" in caplog.text


async def test_dribbling_does_not_buy_time(tmp_path: Path) -> None:
    async with transport_at(tmp_path, auth_timeout=0.3) as transport:
        attachment = await opened(transport)
        async with dial(attachment) as stream:
            began = anyio.current_time()
            with pytest.raises(anyio.BrokenResourceError):
                for byte in auth(attachment.environment["FLOW_SECRET"]):
                    await stream.send(bytes([byte]))
                    await anyio.sleep(0.05)
            assert anyio.current_time() - began < 2


async def test_time_for_the_secret_is_not_time_for_the_channel(tmp_path: Path) -> None:
    async with transport_at(tmp_path, auth_timeout=0.1) as transport:
        async with await join(await opened(transport)) as stream:
            await anyio.sleep(0.4)
            await says(stream, b"still in")


async def test_no_secret_is_in_a_log_an_error_or_a_repr(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    endpoints: list[Endpoint] = []
    told = []
    async with transport_at(tmp_path, auth_timeout=0.2) as transport:
        for name in ("one", "two"):
            endpoints.append(await transport.open(name, fail))
        own = [e.attachment(isolated=True) for e in endpoints]
        guesses = [a.environment["FLOW_SECRET"] + "x" for a in own]
        for secret in guesses:
            for sent in (auth(secret), frame("auth", secret), auth(secret)[:-2] + b"]}"):
                async with dial(own[0]) as stream:
                    await stream.send(sent)
                    told.append(await refusal(stream))
        async with await join(own[0]) as stream:
            await stream.send(b"now fail")
            await ends(stream)
        told += [repr(vars(transport)), repr(endpoints[0]), endpoints[0].address]
        await endpoints[0].close(remove=True)
    assert "A connection was refused" in caplog.text
    assert "Connection handler failed" in caplog.text
    for text in (caplog.text, *told):
        for attachment in own:
            assert attachment.environment["FLOW_SECRET"] not in text


async def fail(stream: ByteStream) -> None:
    await stream.receive()
    raise RuntimeError("the handler failed")
