"""The door of a real service: hosts, browser pages, safe headers, and what it tells anyone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.service import Service
from tests.support.socketio_wire import Wire, assert_clean, port_of

PAGE = "https://app.example"
POLLING = "/socket.io/?EIO=4&transport=polling"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A real service on every address, for one page."""
    environ = {"HOST": "0.0.0.0", "CORS_ORIGINS": PAGE, "LOG_LEVEL": "INFO"}
    with Service(tmp_path_factory.mktemp("door"), "process", "python", "", **environ) as running:
        yield running
        assert_clean(running.lines)


def asked(service: Service, *headers: str, **request: Any) -> tuple[int, dict[str, str], Any]:
    with Wire(port_of(service.url)) as wire:
        wire.request(*headers, **{"target": "/health", **request})
        return wire.answer()


@pytest.mark.parametrize(
    ("headers", "target", "status"),
    [
        (("Host: evil.example",), "/health", 403),
        (("Host: evil.example", f"Origin: {PAGE}"), "/health", 403),
        (("Host: localhost", "Host: localhost"), "/health", 400),
        (("Accept: */*",), "/health", 400),
        (("Host: a@localhost",), "/health", 400),
        (("Host: localhost",), "http://localhost/health", 400),
        (("Host: localhost",), "http://evil.example/health", 400),
        (("Host: 127.0.0.1:80",), "/health", 200),
    ],
)
def test_service_on_every_address_checks_hosts_too(
    service: Service, headers: tuple[str, ...], target: str, status: int
) -> None:
    told, _, body = asked(service, *headers, target=target)
    assert told == status
    if status == 403:
        assert "allowed_hosts" in body["details"]["hint"]


@pytest.mark.parametrize(
    ("host", "origin", "let_in"),
    [
        ("localhost", PAGE, True),
        ("localhost", "null", False),
        ("localhost", "http://localhost", False),
        ("127.0.0.1:8000", "http://127.0.0.1:8000", False),
        ("10.0.0.1", "http://10.0.0.1", False),
        ("localhost", f"{PAGE}, {PAGE}", False),
    ],
)
@pytest.mark.parametrize("upgrade", [True, False])
def test_page_is_judged_by_its_origin_alone_even_where_it_equals_the_host(
    service: Service, host: str, origin: str, let_in: bool, upgrade: bool
) -> None:
    headers = [f"Host: {host}", f"Origin: {origin}"]
    if upgrade:
        headers += ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
        headers += ["Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="]
    target = POLLING.replace("polling", "websocket") if upgrade else POLLING
    with Wire(port_of(service.url)) as wire:
        wire.request(*headers, target=target)
        status = int(wire.head().split()[1])
    assert status == ((101 if upgrade else 200) if let_in else 403)


def test_without_origins_no_page_is_let_in_although_the_library_takes_an_empty_list_for_any(
    tmp_path: Any,
) -> None:
    with Service(tmp_path, "process", "python", "", LOG_LEVEL="INFO") as closed:
        for page in (PAGE, "null", closed.url):
            assert asked(closed, "Host: localhost", f"Origin: {page}", target=POLLING)[0] == 403
        assert asked(closed, "Host: localhost", target=POLLING)[0] == 200


def test_preflight_is_answered_for_an_allowed_page_alone(service: Service) -> None:
    request = ("Host: localhost", "Access-Control-Request-Method: POST")
    status, headers, _ = asked(service, *request, f"Origin: {PAGE}", method="OPTIONS")
    assert (status, headers["access-control-allow-origin"]) == (204, PAGE)
    status, headers, _ = asked(service, *request, "Origin: https://evil.example", method="OPTIONS")
    assert status == 403
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    ("host", "target", "method", "status"),
    [
        ("localhost", "/health", "GET", 200),
        ("localhost", "/nothing", "GET", 404),
        ("localhost", "/health", "POST", 405),
        ("evil.example", "/health", "GET", 403),
        ("localhost", POLLING, "GET", 200),
        ("localhost", POLLING + "&sid=x", "GET", 400),
        ("localhost", POLLING.replace("polling", "websocket"), "GET", 400),
    ],
)
def test_every_answer_carries_safe_headers(
    service: Service, host: str, target: str, method: str, status: int
) -> None:
    told, headers, _ = asked(service, f"Host: {host}", target=target, method=method)
    assert told == status
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers


def test_health_tells_strangers_little_and_the_tokens_holder_all(service: Service) -> None:
    status, _, little = asked(service, "Host: localhost")
    assert status == 200
    assert little.keys() == {"status", "service", "socket_dir", "components"}
    assert {frozenset(part) for part in little["components"].values()} == {frozenset({"status"})}
    bearer = f"Authorization: Bearer {service.token}"
    _, _, all_of_it = asked(service, "Host: localhost", bearer)
    assert all_of_it["version"]
    assert all_of_it["components"]["containers"] == {"known": 0, "running": 0, "connected": 0}
    status, headers, body = asked(service, "Host: localhost", "Authorization: Bearer wrong")
    assert (status, headers["www-authenticate"], body["error"]) == (401, "bearer", True)
    assert service.token not in json.dumps(body)
