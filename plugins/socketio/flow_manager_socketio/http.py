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
from flow_manager_core.errors import InvalidRequest, SystemFault
from flow_manager_core.log import Log
from flow_manager_core.models import Fault
from flow_manager_socketio import jsontext

HEALTHY = "healthy"


def http_routes(gateway: Gateway, log: Log) -> Starlette:
    """Make the app that answers everything but Socket.IO."""

    async def health(_request: Request) -> Response:
        body = await gateway.health()
        return _json(200 if body.get("status") == HEALTHY else 503, body)

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        fault = _fault_of(request, error)
        body = gateway.error_body(InvalidRequest([fault], operation="http"))
        return _json(error.status_code, body, error.headers)

    async def failed(request: Request, error: Exception) -> Response:
        log.error("HTTP request failed", path=request.url.path[:200], exc_info=error)
        return _json(500, gateway.error_body(SystemFault("The request failed unexpectedly")))

    return Starlette(
        routes=[Route("/health", _guarded(health, failed), methods=["GET"])],
        exception_handlers={HTTPException: refused},
    )


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


def _json(
    status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
) -> Response:
    text = jsontext.dumps(body)
    return Response(text, status, headers, media_type="application/json")
