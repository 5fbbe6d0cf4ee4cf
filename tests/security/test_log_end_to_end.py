"""The real service's log, while flows, clients and strangers say what no line may hold."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
import socketio
from anyio import to_thread

from tests.e2e.client import Client
from tests.e2e.conftest import FLOWS
from tests.security import faulty_service as faults
from tests.security.hostile import FORGED, HOSTILE, sound_lines
from tests.security.stage import SecretService

pytestmark = pytest.mark.anyio

#: Those that a packet can hold: JSON in UTF-8 knows no half characters.
TEXTS = [text[:100_000] for name, text in HOSTILE.items() if name != "half a character"]
SHORT = [text for text in TEXTS if len(text) < 100]
NUL_FREE = [text for text in SHORT if "\0" not in text]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """The Socket.IO client is asyncio's."""
    return "asyncio"


@pytest.fixture(params=["console", "json"])
async def service(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SecretService]:
    made = SecretService(tmp_path, "process", "python", "", LOG_FORMAT=request.param)
    shutil.copytree(FLOWS, tmp_path / "code", ignore=shutil.ignore_patterns("__pycache__"))
    await to_thread.run_sync(made.start)
    yield made
    await to_thread.run_sync(made.__exit__, None, None, None)


async def by_a_client(client: Client) -> None:
    """What a client may choose: names, ids, fields, messages."""
    for text in TEXTS:
        await client.io.call(text, {}, timeout=30)
        await client.ask("start_container", container_id=text)
        await client.ask("start_container", container_id="x", request_id=text)
        await client.ask("create_container", image=text, name=text, labels={text: text})
        await client.ask("create_container", image="python", environment={text: [text]}, x=text)
    for text in NUL_FREE:
        await client.ask(
            "create_container", name=faults.PROVOKED, image="python", labels={"x": text}
        )


async def by_a_flow(client: Client, code: str) -> None:
    """What a flow may choose: its messages, its frames, its output, its end."""
    key = await client.running(code_path=code)
    for text in TEXTS:
        await client.say(key, "say", text)
        await client.say(key, "print", text)
    for text in NUL_FREE:
        await client.say(key, text, {text: text})
        body = json.dumps({"command": text, "data": text, "id": text}).encode()
        await client.say(key, "raw", (struct.pack(">I", len(body)) + body).hex())
        wrong = json.dumps({"command": [text]}).encode() + text.encode()
        await client.say(key, "raw", (struct.pack(">I", len(wrong)) + wrong).hex())
    assert await client.question(key, "echo", "still there") == "still there"
    await client.say(key, "exit", 3)
    await client.event("container_crashed", container_id=key)


async def by_strangers(url: str) -> None:
    """What anyone may send who reaches the port: requests that are none, tokens, packets."""
    host, port = url.removeprefix("http://").split(":")
    for text in SHORT:
        raw = text.encode()
        for request in (
            b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n" % raw,
            b"GET / HTTP/1.1\r\nHost: %s\r\nOrigin: %s\r\nX-Y: %s\r\n\r\n" % (raw, raw, raw),
            b"GET /health%%0a%%1b?%s HTTP/1.1\r\nHost: %s\r\n\r\n" % (raw, host.encode()),
            raw,
        ):
            async with await anyio.connect_tcp(host, int(port)) as line:
                await line.send(request + b"\r\n\r\n")
                await line.receive()
    for text in TEXTS[:4]:
        io = socketio.AsyncClient(reconnection=False)
        with pytest.raises(socketio.exceptions.ConnectionError):
            await io.connect(url, auth={"token": text, "events": [text]})
        await io.disconnect()


async def test_nobody_forges_or_hides_a_line_of_the_services_log(service: SecretService) -> None:
    async with Client(service) as client:
        await by_a_client(client)
        await by_a_flow(client, str(service.root / "code"))
        await by_strangers(service.url)
        assert (await client.ask("list_containers"))["count"] == 1
    log_format = service._environ["LOG_FORMAT"]
    await to_thread.run_sync(service.stop)
    lines = sound_lines((service.root / "flow-manager.log").read_text(), log_format)
    greeting = [line for line in service.lines if line[:1] not in "[{"]
    assert [line for line in service.lines if line not in greeting] == lines
    assert 0 < len(greeting) < 10
    assert all(line.isprintable() for line in greeting)
    assert FORGED in "".join(lines)
    told = [line for line in lines if "Socket communication: received" in line]
    assert len(told) >= len(TEXTS)
