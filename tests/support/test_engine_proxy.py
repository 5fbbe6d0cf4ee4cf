"""The engine's proxy passes on what a real engine says, and spoils what it is told to."""

from __future__ import annotations

import io
import socket
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import docker
import pytest
import requests
from docker.transport.unixconn import UnixHTTPConnection

from tests.support.engine import DockerEngine
from tests.support.engine_proxy import EngineProxy
from tests.support.engine_relay import Fault

pytestmark = pytest.mark.docker
SLEEPS = ["python3", "-c", "import time; print('ready', flush=True); time.sleep(600)"]
#: Seconds; what takes longer does not come.
SOON = 10.0


@pytest.fixture
def proxy(docker_engine: DockerEngine) -> Iterator[EngineProxy]:
    with EngineProxy(docker_engine.url) as made:
        yield made


@pytest.fixture
def engine(proxy: EngineProxy) -> Iterator[Any]:
    """A client through the proxy that gives up soon."""
    with docker.APIClient(base_url=proxy.url, version="auto", timeout=2) as client:
        yield client


@pytest.fixture
def container(docker_engine: DockerEngine, flow_image: str) -> Iterator[str]:
    """A container that runs, by an engine without a proxy."""
    with docker_engine.client() as client:
        made = client.create_container(flow_image, SLEEPS, labels={"proxy-test": "1"})["Id"]
        client.start(made)
        yield made
        client.remove_container(made, force=True)


def until(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + SOON
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return found


def test_calls_bodies_and_streams_pass_unchanged(
    engine: Any, proxy: EngineProxy, container: str
) -> None:
    assert engine.ping()
    noise = bytes(range(256)) * 4096
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        entry = tarfile.TarInfo("noise")
        entry.size = len(noise)
        tar.addfile(entry, io.BytesIO(noise))
    # A generator goes out in chunks, bytes with their length.
    assert engine.put_archive(container, "/tmp", packed.getvalue())
    assert engine.put_archive(container, "/tmp", iter([packed.getvalue()]))
    stream, _stat = engine.get_archive(container, "/tmp/noise")
    with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as tar:
        found = tar.extractfile("noise")
        assert found
        assert found.read() == noise
    assert engine.logs(container) == b"ready\n"
    with pytest.raises(docker.errors.NotFound):
        engine.inspect_container("nobody")
    assert proxy.calls("^HEAD /.*/archive") == []
    assert len(proxy.calls("^PUT /.*/archive")) == 2


def test_many_calls_share_one_connection(proxy: EngineProxy, container: str) -> None:
    with closing(UnixHTTPConnection("http://engine", proxy.url.removeprefix("unix://"))) as line:
        for path in ("/_ping", "/containers/nobody/json", f"/containers/{container}/json") * 5:
            line.request("GET", path)
            answer = line.getresponse()
            assert answer.status in (200, 404)
            answer.read()
            assert len(proxy._relay.lines) == 1
    assert len(proxy.calls("^GET /")) == 15


def test_another_protocol_passes_both_ways(engine: Any, container: str) -> None:
    program = "import sys; print(sys.stdin.readline().upper(), end='')"
    made = engine.exec_create(container, ["python3", "-c", program], stdin=True, tty=True)
    channel = engine.exec_start(made["Id"], tty=True, socket=True)
    raw = channel._sock
    raw.sendall(b"hello\n")
    raw.settimeout(SOON)
    said = b""
    while b"HELLO" not in said:
        said += raw.recv(100)
    channel.close()
    raw.close()
    until(lambda: not engine.exec_inspect(made["Id"])["Running"])


def test_a_lost_reply_is_of_a_call_that_was_carried_out(
    engine: Any, proxy: EngineProxy, docker_engine: DockerEngine, container: str
) -> None:
    rule = proxy.rule("^POST /.*/rename", Fault.LOSE_REPLY, times=1)
    with pytest.raises(requests.exceptions.ReadTimeout):
        engine.rename(container, "proxy-renamed")
    with docker_engine.client() as client:
        assert client.inspect_container(container)["Name"] == "/proxy-renamed"
    rule = proxy.rule("^POST /.*/rename", Fault.CUT_REPLY)
    with pytest.raises(requests.exceptions.ConnectionError):
        engine.rename(container, "proxy-again")
    assert rule.hits == 1
    assert engine.inspect_container(container)["Name"] == "/proxy-again"


def test_a_call_that_is_held_never_reaches_the_engine(
    engine: Any, proxy: EngineProxy, container: str
) -> None:
    proxy.rule("^POST /.*/kill", Fault.HOLD)
    with pytest.raises(requests.exceptions.ReadTimeout):
        engine.kill(container)
    assert engine.inspect_container(container)["State"]["Running"]


def test_an_error_comes_as_often_as_it_is_told(
    engine: Any, proxy: EngineProxy, container: str
) -> None:
    proxy.rule("^GET /.*/containers/.*/json", Fault.FAIL, times=2, status=503)
    for _ in range(2):
        with pytest.raises(docker.errors.APIError) as caught:
            engine.inspect_container(container)
        assert caught.value.response.status_code == 503
    assert engine.inspect_container(container)["State"]["Running"]


def test_a_frozen_engine_takes_connections_and_does_what_it_was_told_once_thawed(
    engine: Any, proxy: EngineProxy, docker_engine: DockerEngine, container: str
) -> None:
    proxy.freeze()
    with pytest.raises(requests.exceptions.ReadTimeout):
        engine.rename(container, "proxy-late")
    with docker_engine.client() as client:
        assert client.inspect_container(container)["Name"] != "/proxy-late"
        proxy.restore()
        until(lambda: client.inspect_container(container)["Name"] == "/proxy-late")
    assert engine.ping()


def test_a_refusing_engine_comes_back(engine: Any, proxy: EngineProxy) -> None:
    proxy.refuse()
    # Not by the SDK, which leaves a socket open where nobody listens.
    with socket.socket(socket.AF_UNIX) as probe, pytest.raises(OSError):
        probe.connect(proxy.url.removeprefix("unix://"))
    proxy.restore()
    assert engine.ping()


def test_a_stream_falls_silent_and_the_next_one_speaks(
    engine: Any, proxy: EngineProxy, docker_engine: DockerEngine, container: str
) -> None:
    told: list[list[str]] = []

    def listen() -> threading.Thread:
        mine: list[str] = []
        told.append(mine)
        filters = {"container": container, "event": "rename"}
        stream = docker.APIClient(base_url=proxy.url, version="auto", timeout=None)
        events = stream.events(filters=filters, decode=True)

        def read() -> None:
            with stream, events._response:
                mine.extend(event["Actor"]["Attributes"]["name"] for event in events)

        reader = threading.Thread(target=read)
        reader.start()
        return reader

    with docker_engine.client() as client:
        first = listen()
        client.rename(container, "proxy-1")
        until(lambda: told[0] == ["proxy-1"])
        assert proxy.silence("^GET /.*/events") == 1
        second = listen()
        client.rename(container, "proxy-2")
        until(lambda: told[1] == ["proxy-2"])
        assert told[0] == ["proxy-1"]
        assert first.is_alive()
    proxy.refuse()
    for reader in (first, second):
        reader.join(SOON)


def test_a_client_that_goes_takes_its_stream_from_the_engine(
    engine: Any, proxy: EngineProxy, container: str
) -> None:
    def following() -> bool:
        return any("follow=1" in line.call for line in proxy._relay.lines)

    output = engine.logs(container, follow=True, stream=True)
    assert next(output) == b"ready\n"
    assert following()
    output.close()
    # The SDK's stream ends the connection and leaves the response open.
    output._response.close()
    engine.close()
    until(lambda: not following())
