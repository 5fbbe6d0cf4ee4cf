"""The one check in front of everything: which hosts a request may name, which pages may ask.

Browsers send what a page wants to any address, this machine's included. Two headers that a page
cannot forge tell: ``Origin`` (whose page it is) and ``Host`` (the name that led here, which is the
attacker's own when his name was made to point at us). Neither is held against the other: a page
whose origin equals its own forged host is no friend.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from flow_manager_core.contracts import Gateway
from flow_manager_core.errors import InvalidRequest
from flow_manager_core.models import Fault
from flow_manager_core.settings import Settings
from flow_manager_socketio.access import is_loopback
from flow_manager_socketio.headers import SAFE, header, with_headers
from flow_manager_socketio.hosts import ANY, HostRule
from flow_manager_socketio.line import App, Message, Receive, Scope, Send, visit_of
from flow_manager_socketio.proxies import Proxies
from flow_manager_socketio.responses import refuse, respond
from flow_manager_socketio.settings import SocketIOSettings

_PREFLIGHT_SECONDS = b"600"
_CLOSE = (b"connection", b"close")
_STARTS = ("http.response.start", "websocket.http.response.start")
_HINTS = {
    "Host": "Name the host in the setting allowed_hosts of socketio, or ask by address",
    "Origin": "Name the page's origin in the setting cors_origins",
    "client": "Name the proxy in the setting trusted_proxies of socketio, or use a token",
}


@frozen
class DoorRules:
    """Who may come to the door.

    Args:
        origins: of browser pages; ``*`` for any.
        loopback_only: whether only peers on this machine are let in.
    """

    hosts: HostRule
    origins: frozenset[str]
    loopback_only: bool
    proxies: Proxies

    @classmethod
    def of(cls, core: Settings, settings: SocketIOSettings) -> DoorRules:
        """Derive the rules from the settings."""
        origins = frozenset(origin.rstrip("/").lower() for origin in core.cors_origins)
        proxies = Proxies.of(settings.trusted_proxies)
        return cls(HostRule.of(core, settings), origins, core.no_auth, proxies)

    def refusal(self, scope: Scope) -> tuple[int, Fault] | None:
        """Say with which status a request is refused, and why; ``None`` when it is let in."""
        refused = self.hosts.fault(scope)
        if refused is not None:
            return refused
        origin = header(scope, b"origin")
        if origin and not self._origin_allowed(origin):
            return 403, Fault("Origin", f"{origin[:200]!r} is not an allowed origin")
        return None

    def client_refusal(self, peer: Scope, seen: Scope) -> tuple[int, Fault] | None:
        """Say likewise of where a request comes from: its peer, and the client behind proxies."""
        if not self.loopback_only:
            return None
        if seen is peer and self.proxies.is_proxied(peer):
            told = "without a token, no request is taken from a proxy that is not named"
            return 403, Fault("client", told)
        client = seen.get("client")
        if client is not None and not is_loopback(client[0]):
            told = "only clients on this machine are let in without a token"
            return 403, Fault("client", told)
        return None

    def _origin_allowed(self, origin: str) -> bool:
        return ANY in self.origins or origin.lower() in self.origins


class FrontDoor:
    """The ASGI app behind the rules; every answer gets safe headers, and CORS ones for its page.

    Args:
        keeps: whether a request is one of several that follow each other on a connection.
    """

    def __init__(
        self, app: App, rules: DoorRules, gateway: Gateway, keeps: Callable[[Scope], bool]
    ) -> None:
        self._app = app
        self._rules = rules
        self._gateway = gateway
        self._keeps = keeps

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI's entry point."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = [*SAFE]

        async def send_safely(message: Message) -> None:
            if message["type"] in _STARTS:
                end = self._end_of(scope, message["status"])
                message = with_headers(message, [*headers, *end])
            await send(message)

        seen, refused = self._look(scope)
        if refused is not None:
            await self._refuse(scope, send_safely, *refused)
            return
        origin = header(scope, b"origin").encode("latin-1")
        if origin:
            headers += _cors(origin)
        if origin and _is_preflight(scope):
            await respond(scope, send_safely, 204, headers=_preflight(scope))
        else:
            await self._app(seen, receive, send_safely)

    def _look(self, scope: Scope) -> tuple[Scope, tuple[int, Fault] | None]:
        seen = self._rules.proxies.seen_through(scope)
        if isinstance(seen, Fault):
            return scope, (400, seen)
        return seen, self._rules.refusal(scope) or self._rules.client_refusal(scope, seen)

    def _end_of(self, scope: Scope, status: int) -> list[tuple[bytes, bytes]]:
        """Who is not known gets an answer, and no connection to keep."""
        visit = visit_of(scope)
        keeps = visit is None or visit.known or (status == 200 and self._keeps(scope))
        return [] if keeps else [_CLOSE]

    async def _refuse(self, scope: Scope, send: Send, status: int, fault: Fault) -> None:
        hint = _HINTS.get(fault.field) if status == 403 else None
        error = InvalidRequest([fault], operation="connect", hint=hint)
        await refuse(scope, send, self._gateway, status, error)


def _cors(origin: bytes) -> list[tuple[bytes, bytes]]:
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-allow-credentials", b"true"),
        (b"vary", b"Origin"),
    ]


def _is_preflight(scope: Scope) -> bool:
    asked = header(scope, b"access-control-request-method")
    return scope.get("method") == "OPTIONS" and bool(asked)


def _preflight(scope: Scope) -> list[tuple[bytes, bytes]]:
    headers = [
        (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
        (b"access-control-max-age", _PREFLIGHT_SECONDS),
    ]
    asked = header(scope, b"access-control-request-headers")
    if asked:
        headers.append((b"access-control-allow-headers", asked.encode("latin-1")))
    if header(scope, b"access-control-request-private-network"):
        headers.append((b"access-control-allow-private-network", b"true"))
    return headers
