"""Which requests come to the door at all: by the host they name, the page, the proxy between."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from flow_manager_core.models import Fault
from flow_manager_core.settings import Settings
from flow_manager_socketio.door import DoorRules
from flow_manager_socketio.settings import SocketIOSettings
from tests.e2e.service import Service
from tests.support.socketio_wire import Wire, assert_clean, port_of

PAGE = "https://app.example"
POLLING = "/socket.io/?EIO=4&transport=polling"


def scope(*headers: tuple[str, str], client: str = "127.0.0.1", path: str = "/health") -> Any:
    named = [(name.encode(), value.encode()) for name, value in headers]
    return {"type": "http", "path": path, "headers": named, "client": (client, 1), "scheme": "http"}


def rules(own: SocketIOSettings | None = None, **core: Any) -> DoorRules:
    return DoorRules.of(Settings(token="t", **core), own or SocketIOSettings())


@pytest.mark.parametrize("bound", ["127.0.0.1", "0.0.0.0", "::", ""])
@pytest.mark.parametrize(
    ("host", "names", "status"),
    [
        ("localhost:8000", (), None),
        ("app.localhost", (), None),
        ("127.0.0.1", (), None),
        ("10.1.2.3:8000", (), None),
        ("[fe80::1]:8000", (), None),
        (socket.gethostname(), (), None),
        (f"{socket.gethostname().upper()}:80", (), None),
        ("evil.example", (), 403),
        ("10.1.2.3.evil.example", (), 403),
        ("Flows.example.:443", ("flows.example",), None),
        ("localhost", ("flows.example",), None),
        ("10.1.2.3", ("flows.example",), 403),
        (socket.gethostname(), ("flows.example",), 403),
        ("evil.example", ("*",), None),
        ("user@localhost", (), 400),
        ("localhost/path", (), 400),
        ("localhost, evil.example", (), 400),
        ("local host", (), 400),
        ("", (), 400),
        ("user@localhost", ("*",), 400),
    ],
)
def test_host_is_checked_whatever_the_service_is_bound_to(
    bound: str, host: str, names: tuple[str, ...], status: int | None
) -> None:
    refused = rules(SocketIOSettings(allowed_hosts=names), host=bound).refusal(
        scope(("host", host))
    )
    assert (refused and refused[0]) == status


@pytest.mark.parametrize(
    "headers", [(), (("host", "localhost"), ("host", "localhost"))], ids=["none", "two"]
)
def test_host_must_be_there_once(headers: Any) -> None:
    refused = rules().refusal(scope(*headers))
    assert refused is not None
    assert (refused[0], refused[1].field) == (400, "Host")


def test_absolute_target_is_refused_whatever_it_names() -> None:
    asked = scope(("host", "localhost"), path="http://localhost/health")
    refused = rules().refusal(asked)
    assert refused is not None
    assert refused[0] == 400


@pytest.mark.parametrize(
    ("peer", "headers", "client", "scheme"),
    [
        ("10.0.0.1", [("x-forwarded-for", "1.2.3.4")], "1.2.3.4", "http"),
        ("10.0.0.1", [("x-forwarded-for", "6.6.6.6, 1.2.3.4")], "1.2.3.4", "http"),
        ("10.0.0.1", [("x-forwarded-for", "1.2.3.4, 10.0.0.2")], "1.2.3.4", "http"),
        ("10.0.0.1", [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "::1")], "::1", "http"),
        ("10.0.0.1", [("x-forwarded-for", "10.0.0.3, 10.0.0.2")], "10.0.0.3", "http"),
        ("10.0.0.1", [("x-forwarded-for", "1.2.3.4:77")], "1.2.3.4", "http"),
        ("10.0.0.1", [("x-forwarded-for", "127.0.0.1, nonsense")], "unknown", "http"),
        ("10.0.0.1", [("x-forwarded-for", "")], "unknown", "http"),
        ("10.0.0.1", [("forwarded", 'for="[2001:db8::1]:1";proto=https')], "2001:db8::1", "https"),
        ("10.0.0.1", [("forwarded", "for=6.6.6.6, for=1.2.3.4;proto=https")], "1.2.3.4", "https"),
        ("10.0.0.1", [("forwarded", "for=_hidden")], "unknown", "http"),
        ("::ffff:10.0.0.1", [("x-forwarded-for", "1.2.3.4")], "1.2.3.4", "http"),
        (
            "10.0.0.1",
            [("x-forwarded-for", "1.2.3.4"), ("x-forwarded-proto", "https")],
            "1.2.3.4",
            "https",
        ),
        (
            "10.0.0.1",
            [("x-forwarded-for", "1.2.3.4"), ("x-forwarded-proto", "javascript")],
            "1.2.3.4",
            "http",
        ),
        ("10.0.0.1", [], "10.0.0.1", "http"),
        (
            "9.9.9.9",
            [("x-forwarded-for", "127.0.0.1"), ("forwarded", "for=::1")],
            "9.9.9.9",
            "http",
        ),
    ],
)
def test_client_behind_a_named_proxy_is_the_rightmost_that_is_no_proxy(
    peer: str, headers: Any, client: str, scheme: str
) -> None:
    proxies = rules(SocketIOSettings(trusted_proxies=("10.0.0.0/8",))).proxies
    seen = proxies.seen_through(scope(*headers, client=peer))
    assert not isinstance(seen, Fault)
    assert (seen["client"][0], seen["scheme"]) == (client, scheme)


def test_two_tales_of_one_client_are_refused() -> None:
    proxies = rules(SocketIOSettings(trusted_proxies=("10.0.0.1",))).proxies
    headers = [("x-forwarded-for", "127.0.0.1"), ("forwarded", "for=1.2.3.4")]
    assert isinstance(proxies.seen_through(scope(*headers, client="10.0.0.1")), Fault)


@pytest.mark.parametrize(
    ("trusted", "headers", "client", "let_in"),
    [
        ((), [], "127.0.0.1", True),
        ((), [], "10.0.0.1", False),
        ((), [("x-forwarded-for", "127.0.0.1")], "127.0.0.1", False),
        ((), [("forwarded", "for=127.0.0.1")], "127.0.0.1", False),
        ((), [("x-forwarded-proto", "https")], "127.0.0.1", False),
        ((), [("x-real-ip", "127.0.0.1")], "127.0.0.1", False),
        ((), [("via", "1.1 proxy")], "127.0.0.1", False),
        (("127.0.0.1",), [("x-forwarded-for", "1.2.3.4")], "127.0.0.1", False),
        (("127.0.0.1",), [("x-forwarded-for", "127.0.0.1, 1.2.3.4")], "127.0.0.1", False),
        (("127.0.0.1",), [("x-forwarded-for", "127.0.0.1")], "127.0.0.1", True),
    ],
)
def test_no_auth_lets_in_clients_of_this_machine_alone_and_no_proxy_opens_the_house(
    trusted: tuple[str, ...], headers: Any, client: str, let_in: bool
) -> None:
    chosen = DoorRules.of(Settings(no_auth=True), SocketIOSettings(trusted_proxies=trusted))
    asked = scope(*headers, client=client)
    seen = chosen.proxies.seen_through(asked)
    assert not isinstance(seen, Fault)
    assert (chosen.client_refusal(asked, seen) is None) is let_in


@pytest.mark.parametrize("name", ["proxy.example", "10.0.0.0/99", "*"])
def test_proxy_that_is_no_address_is_named(name: str) -> None:
    with pytest.raises(ValueError, match="trusted_proxies"):
        SocketIOSettings(trusted_proxies=(name,))


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
