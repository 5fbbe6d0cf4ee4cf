"""The one check in front of everything: which hosts a request may name, which pages may ask.

Browsers send what a page wants to any address, this machine's included. Two headers that a page
cannot forge tell: ``Origin`` (whose page it is) and ``Host`` (the name that led here, which is the
attacker's own when his name was made to point at us). ``X-Forwarded-*`` is not looked at.
"""

from __future__ import annotations

from attrs import frozen

from flow_manager_core.contracts import Gateway
from flow_manager_core.errors import InvalidRequest
from flow_manager_core.models import Fault
from flow_manager_core.settings import Settings
from flow_manager_socketio.access import is_loopback
from flow_manager_socketio.line import App, Message, Receive, Scope, Send
from flow_manager_socketio.responses import refuse, respond
from flow_manager_socketio.settings import SocketIOSettings

ANY = "*"
_PREFLIGHT_SECONDS = b"600"


@frozen
class DoorRules:
    """Who may come to the door.

    Args:
        hosts: names that ``Host`` may have besides loopback ones; ``None``: any.
        origins: of browser pages; ``*`` for any.
        loopback_only: whether only peers on this machine are let in.
    """

    hosts: frozenset[str] | None
    origins: frozenset[str]
    loopback_only: bool

    @classmethod
    def of(cls, core: Settings, settings: SocketIOSettings) -> DoorRules:
        """Derive the rules from the settings."""
        names = {name.lower() for name in settings.allowed_hosts}
        checked = ANY not in names and (names or is_loopback(core.host))
        hosts = frozenset({*names, core.host.lower()}) if checked else None
        origins = frozenset(origin.rstrip("/").lower() for origin in core.cors_origins)
        return cls(hosts, origins, core.no_auth)

    def refusal(self, scope: Scope) -> Fault | None:
        """Say why a request is not let in; ``None`` when it is."""
        host = _header(scope, b"host")
        if not self._host_allowed(host):
            return Fault("Host", f"{host[:200]!r} is not an allowed host")
        origin = _header(scope, b"origin")
        if origin and not self._origin_allowed(origin):
            return Fault("Origin", f"{origin[:200]!r} is not an allowed origin")
        client = scope.get("client")
        if self.loopback_only and client is not None and not is_loopback(client[0]):
            return Fault("client", "only clients on this machine are let in without a token")
        return None

    def _host_allowed(self, host: str) -> bool:
        if self.hosts is None:
            return True
        name = _without_port(host).lower()
        return is_loopback(name) or name in self.hosts

    def _origin_allowed(self, origin: str) -> bool:
        return ANY in self.origins or origin.lower() in self.origins


class FrontDoor:
    """The ASGI app behind the rules, with CORS headers for the pages that are let in."""

    def __init__(self, app: App, rules: DoorRules, gateway: Gateway) -> None:
        self._app = app
        self._rules = rules
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI's entry point."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        fault = self._rules.refusal(scope)
        if fault is not None:
            error = InvalidRequest([fault], operation="connect")
            await refuse(scope, send, self._gateway, 403, error)
            return
        origin = _header(scope, b"origin")
        if origin:
            await self._for_page(origin.encode("latin-1"), scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _for_page(self, origin: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        cors = [
            (b"access-control-allow-origin", origin),
            (b"access-control-allow-credentials", b"true"),
            (b"vary", b"Origin"),
        ]
        if scope.get("method") == "OPTIONS" and _header(scope, b"access-control-request-method"):
            await respond(scope, send, 204, headers=[*cors, *_preflight(scope)])
            return

        async def send_with_cors(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *cors]
            await send(message)

        await self._app(scope, receive, send_with_cors)


def _preflight(scope: Scope) -> list[tuple[bytes, bytes]]:
    headers = [
        (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
        (b"access-control-max-age", _PREFLIGHT_SECONDS),
    ]
    asked = _header(scope, b"access-control-request-headers")
    if asked:
        headers.append((b"access-control-allow-headers", asked.encode("latin-1")))
    if _header(scope, b"access-control-request-private-network"):
        headers.append((b"access-control-allow-private-network", b"true"))
    return headers


def _header(scope: Scope, name: bytes) -> str:
    """All values of a header; two where one belongs match nothing that is allowed."""
    return ",".join(v.decode("latin-1") for k, v in scope["headers"] if k.lower() == name)


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host
