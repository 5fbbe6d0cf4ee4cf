"""Clients over TLS: let in, never slowly, and with the certificate that is on disk now."""

from __future__ import annotations

import ssl
import subprocess
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import psutil
import pytest
import requests
import socketio

from flow_manager_core.log import get_log
from flow_manager_core.settings import Settings
from flow_manager_socketio.certificate import Certificate
from tests.e2e.service import Service
from tests.node.node_fixture import CACHE
from tests.support.certificates import Pair, make_pair
from tests.support.socketio_wire import Ended, Wire, assert_clean, port_of

PATIENCE = 1.0
SLACK = 1.5


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """The service's certificate."""
    return make_pair(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def service(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A real service over TLS, whose key others can read."""
    pair.key.chmod(0o644)
    environ = {
        "FLOW_MANAGER_TLS_CERTIFICATE": str(pair.certificate),
        "FLOW_MANAGER_TLS_KEY": str(pair.key),
        "FLOW_MANAGER_SOCKETIO_CONNECT_TIMEOUT": str(PATIENCE),
        "LOG_LEVEL": "INFO",
    }
    root = tmp_path_factory.mktemp("service")
    with Service(root, "process", "python", "", **environ) as running:
        yield running
        assert_clean(running.lines)


def test_address_says_https_and_an_exposed_key_is_warned_of(service: Service) -> None:
    assert service.url.startswith("https://127.0.0.1:")
    assert any(line.startswith("[WARNING] Others can read the TLS key") for line in service.lines)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_client_is_served_over_tls(service: Service, pair: Pair, version: Any) -> None:
    context = pair.client_context()
    context.minimum_version = context.maximum_version = version
    with Wire(port_of(service.url), context).enter(service.token) as client:
        assert client.ask("list_containers", {})["count"] == 0
    with Wire(port_of(service.url), context) as client:
        client.request("Host: localhost", target="/health")
        assert client.answer()[2]["status"] == "healthy"


def test_older_tls_is_refused(service: Service, pair: Pair) -> None:
    context = pair.client_context()
    with warnings.catch_warnings(action="ignore"):
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        Wire(port_of(service.url), context)


_CLIENT = """
const {io} = require("socket.io-client");
const [url, token, transport] = process.argv.slice(1);
const ca = require("fs").readFileSync(process.env.CA);
const sio = io(url, {transports: [transport], auth: {token}, ca});
sio.on("connect_error", (error) => { console.log(error.message); process.exit(1); });
sio.emitWithAck("list_containers", {}).then(({count}) => { console.log(count); process.exit(0); });
"""


@pytest.mark.node
@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_javascript_client_is_served_over_tls(
    service: Service, pair: Pair, node_client: Any, transport: str
) -> None:
    done = subprocess.run(
        [node_client.node, "-e", _CLIENT, "--", service.url, service.token, transport],
        cwd=CACHE,
        env={"CA": str(pair.certificate), "NODE_EXTRA_CA_CERTS": str(pair.certificate)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "0"), done.stderr


def test_python_client_that_polls_is_served_over_tls(service: Service, pair: Pair) -> None:
    with requests.Session() as http:
        http.verify = str(pair.certificate)
        http.trust_env = False
        sio = socketio.Client(reconnection=False, http_session=http)
        sio.connect(service.url, auth={"token": service.token}, transports=["polling"])
        assert sio.call("list_containers", {})["count"] == 0
        sio.shutdown()


def test_python_client_on_a_websocket_is_served_over_tls(service: Service, pair: Pair) -> None:
    async def main() -> None:
        connector = aiohttp.TCPConnector(ssl=pair.client_context())
        async with aiohttp.ClientSession(connector=connector) as http:
            sio = socketio.AsyncClient(reconnection=False, http_session=http)
            auth = {"token": service.token}
            await sio.connect(service.url, auth=auth, transports=["websocket"])
            assert (await sio.call("list_containers", {}))["count"] == 0
            # aiohttp does not wait for the end of TLS, and a loop that ends first leaks the socket.
            ended = sio.eio.ws._response.connection.protocol.closed
            await sio.shutdown()
            with anyio.fail_after(PATIENCE + SLACK):
                await ended

    anyio.run(main)


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01\x02", b"\x16\x03\x01\x02\x00\x01\x00"])
def test_handshake_that_never_ends_is_closed_in_time(service: Service, said: bytes) -> None:
    with Wire(port_of(service.url)) as wire:
        wire.write(said)
        assert wire.ended(PATIENCE + SLACK) < PATIENCE + SLACK


def test_handshake_a_byte_at_a_time_is_closed_in_time(service: Service) -> None:
    begun = time.monotonic()
    with Wire(port_of(service.url)) as wire, suppress(Ended):
        wire.socket.settimeout(0.05)
        for byte in b"\x16\x03\x01\x02\x00" + bytes(500):
            wire.write(bytes([byte]))
            with suppress(TimeoutError):
                if not wire.socket.recv(100):
                    break
    assert time.monotonic() - begun < PATIENCE + SLACK


def logged(service: Service) -> list[str]:
    """The lines of the log but the greeting's, which may still be on its way."""
    lines = [line for line in service.lines if line.startswith("[")]
    return [line for line in lines if "Listening" not in line]


def test_plain_http_to_tls_and_tls_to_plain_http_are_closed_without_a_word_in_the_log(
    service: Service, pair: Pair, tmp_path: Path
) -> None:
    told = logged(service)
    for _ in range(50):
        with Wire(port_of(service.url)) as wire, suppress(Ended):
            wire.request("Host: localhost", target="/health")
            wire.ended()
    assert logged(service) == told
    with Service(tmp_path, "process", "python", "", LOG_LEVEL="INFO") as plain:
        told = logged(plain)
        for _ in range(50):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                Wire(port_of(plain.url), pair.client_context())
        assert logged(plain) == told


#: Bytes that strangers in half a handshake may cost: 256 of them, with a buffer of 256 KiB each.
CROWD_BOUND = 160 * 1024 * 1024


@pytest.mark.alone
def test_crowd_of_half_handshakes_costs_little_and_keeps_no_client_out(
    service: Service, pair: Pair
) -> None:
    assert service.process is not None
    process = psutil.Process(service.process.pid)
    before = process.memory_info().rss
    with ExitStack() as crowd:
        for _ in range(1000):
            stranger = crowd.enter_context(Wire(port_of(service.url)))
            stranger.write(b"\x16\x03\x01\x02\x00\x01\x00")
        with Wire(port_of(service.url), pair.client_context()).enter(service.token) as client:
            assert client.ask("list_containers", {})["count"] == 0
        grown = process.memory_info().rss - before
    print(f"{grown >> 20} MiB more")
    assert grown < CROWD_BOUND


def test_renewed_certificate_is_taken_up_and_half_a_renewal_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    used = make_pair(tmp_path)
    core = Settings(tls_certificate=str(used.certificate), tls_key=str(used.key))

    async def main() -> None:
        certificate = Certificate(core, get_log("socketio"), look=0.02)
        await certificate.load()
        first = certificate.context()
        async with certificate.renewing():
            with anyio.fail_after(20):
                fresh = make_pair(tmp_path, "fresh")
                used.certificate.write_bytes(fresh.certificate.read_bytes())
                while "is not used" not in caplog.text:
                    await anyio.sleep(0.01)
                assert certificate.context() is first
                used.key.write_bytes(fresh.key.read_bytes())
                while certificate.context() is first:
                    await anyio.sleep(0.01)

    caplog.set_level("INFO", "flow_manager")
    anyio.run(main)
    assert "A new certificate is in use" in caplog.text
