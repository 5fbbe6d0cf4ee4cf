"""The plain HTTP routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from flow_manager_core.contracts import Gateway
from flow_manager_core.errors import FlowManagerError, InvalidRequest, SystemFault
from flow_manager_core.log import Log
from flow_manager_core.models import Fault
from flow_manager_socketio import jsontext
from flow_manager_socketio.access import Access, is_loopback
from flow_manager_socketio.proxies import Proxies
from flow_manager_socketio.responses import error_text

HEALTHY = "healthy"
Page = Callable[[Request], Awaitable[Response]]
_BEARER = "Bearer"
_PUBLIC = ("status", "service", "socket_dir")


class HttpRoutes:
    """What is answered over plain HTTP; `app` answers everything but Socket.IO."""

    def __init__(self, gateway: Gateway, access: Access, log: Log) -> None:
        self._gateway = gateway
        self._access = access
        self._log = log
        pages = {"/health": self._health, "/readyz": self._readiness, "/metrics": self._metrics}
        self.app: Starlette = Starlette(
            routes=[
                Route(path, self._guarded(page), methods=["GET"]) for path, page in pages.items()
            ],
            exception_handlers={HTTPException: self._refused},
        )

    async def _health(self, request: Request) -> Response:
        known = self._knows(request)
        body = await self._gateway.health()
        status = 200 if body.get("status") == HEALTHY else 503
        return _json(body if known else _for_anyone(body), status)

    async def _readiness(self, _request: Request) -> Response:
        ready = self._gateway.ready()
        return _json({"ready": ready}, 200 if ready else 503)

    async def _metrics(self, request: Request) -> Response:
        if not (self._knows(request) or _is_here(request)):
            told = "a token is needed from other machines than this one"
            raise InvalidRequest([Fault("authorization", told)], operation="http")
        text, kind = self._gateway.metrics(request.headers.get("accept", ""))
        return Response(text, media_type=kind)

    def _knows(self, request: Request) -> bool:
        """Whether a request carries a token.

        Raises:
            InvalidRequest: it carries one that is wrong.
        """
        if self._access.open:
            return True
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != _BEARER.lower():
            return False
        self._access.admit({"token": token.strip()})
        return True

    async def _refused(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        fault = _fault_of(request, error)
        refusal = InvalidRequest([fault], operation="http")
        return self._failure(error.status_code, refusal, error.headers)

    def _failure(
        self, status: int, error: FlowManagerError, headers: Mapping[str, str] | None = None
    ) -> Response:
        text = error_text(self._gateway, status, error)
        return Response(text, status, headers, media_type=self._gateway.error_media_type)

    def _guarded(self, page: Page) -> Page:
        # Starlette's own handler for unexpected failures answers and then raises all the same.
        async def endpoint(request: Request) -> Response:
            try:
                return await page(request)
            except InvalidRequest as error:
                return self._failure(401, error, {"www-authenticate": _BEARER})
            except Exception as error:  # noqa: BLE001 - answered and logged
                path = request.url.path[:200]
                self._log.error("HTTP request failed", path=path, exc_info=error)
                return self._failure(500, SystemFault("The request failed unexpectedly"))

        return endpoint


def _json(body: Mapping[str, Any], status: int) -> Response:
    return Response(jsontext.dumps(body), status, media_type="application/json")


def _is_here(request: Request) -> bool:
    """Whether a request comes from this machine, and not by way of a proxy on it."""
    client = request.client
    here = client is not None and is_loopback(client.host)
    return here and not Proxies(()).is_proxied(request.scope)


def _for_anyone(body: Mapping[str, Any]) -> dict[str, Any]:
    """How things stand, without versions, names, counts and the engine's own words."""
    parts = {
        name: {"status": part["status"]}
        for name, part in body.get("components", {}).items()
        if isinstance(part, Mapping) and "status" in part
    }
    told = {name: body[name] for name in _PUBLIC if name in body}
    return {**told, "components": parts}


def _fault_of(request: Request, error: HTTPException) -> Fault:
    if error.status_code == 405:
        return Fault("method", f"{request.method[:20]} is not allowed here")
    return Fault("path", f"there is nothing at {request.url.path[:200]}")
