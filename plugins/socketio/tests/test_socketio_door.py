"""Which requests come to the door at all: by the host they name, the page, the proxy between."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from flow_manager_core.models import Fault
from flow_manager_core.settings import Settings
from flow_manager_socketio.door import DoorRules
from flow_manager_socketio.settings import SocketIOSettings

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
