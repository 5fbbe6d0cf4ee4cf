"""The plain HTTP routes."""

from __future__ import annotations

from collections.abc import Mapping
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
_BEARER = "Bearer"
_PUBLIC = ("status", "service", "socket_dir")


def http_routes(gateway: Gateway, access: Access, log: Log) -> Starlette:
    """Make the app that answers everything but Socket.IO."""

    async def health(request: Request) -> Response:
        try:
            known = _is_known(access, request)
        except InvalidRequest as error:
            return failure(401, error, {"www-authenticate": _BEARER})
        body = await gateway.health()
        status = 200 if body.get("status") == HEALTHY else 503
        told = body if known else _for_anyone(body)
        return Response(jsontext.dumps(told), status, media_type="application/json")

    async def readiness(_request: Request) -> Response:
        ready = gateway.ready()
        body = jsontext.dumps({"ready": ready})
        return Response(body, 200 if ready else 503, media_type="application/json")

    async def metrics(request: Request) -> Response:
        try:
            known = _is_known(access, request) or _is_here(request)
            told = Fault("authorization", "a token is needed from other machines than this one")
            refusal = None if known else InvalidRequest([told], operation="http")
        except InvalidRequest as error:
            refusal = error
        if refusal is not None:
            return failure(401, refusal, {"www-authenticate": _BEARER})
        text, kind = gateway.metrics()
        return Response(text, media_type=kind)

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        fault = _fault_of(request, error)
        return failure(error.status_code, InvalidRequest([fault], operation="http"), error.headers)

    async def failed(request: Request, error: Exception) -> Response:
        log.error("HTTP request failed", path=request.url.path[:200], exc_info=error)
        return failure(500, SystemFault("The request failed unexpectedly"))

    def failure(
        status: int, error: FlowManagerError, headers: Mapping[str, str] | None = None
    ) -> Response:
        text = error_text(gateway, status, error)
        return Response(text, status, headers, media_type=gateway.error_media_type)

    return Starlette(
        routes=[
            Route("/health", _guarded(health, failed), methods=["GET"]),
            Route("/readyz", _guarded(readiness, failed), methods=["GET"]),
            Route("/metrics", _guarded(metrics, failed), methods=["GET"]),
        ],
        exception_handlers={HTTPException: refused},
    )


def _is_known(access: Access, request: Request) -> bool:
    """Whether a request carries a token.

    Raises:
        InvalidRequest: it carries one that is wrong.
    """
    if access.open:
        return True
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != _BEARER.lower():
        return False
    access.admit({"token": token.strip()})
    return True


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


def _guarded(handler: Any, failed: Any) -> Any:
    # Starlette's own handler for unexpected failures answers and then raises all the same.
    async def endpoint(request: Request) -> Response:
        try:
            response: Response = await handler(request)
        except Exception as error:  # noqa: BLE001 - answered and logged
            response = await failed(request, error)
        return response

    return endpoint


def _fault_of(request: Request, error: HTTPException) -> Fault:
    if error.status_code == 405:
        return Fault("method", f"{request.method[:20]} is not allowed here")
    return Fault("path", f"there is nothing at {request.url.path[:200]}")
