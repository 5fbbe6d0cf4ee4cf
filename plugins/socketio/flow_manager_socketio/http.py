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
from flow_manager_socketio.responses import error_text

HEALTHY = "healthy"


def http_routes(gateway: Gateway, log: Log) -> Starlette:
    """Make the app that answers everything but Socket.IO."""

    async def health(_request: Request) -> Response:
        body = await gateway.health()
        status = 200 if body.get("status") == HEALTHY else 503
        return Response(jsontext.dumps(body), status, media_type="application/json")

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
