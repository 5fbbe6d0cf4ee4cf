"""`/metrics` and `/readyz`: who may ask, and what the answer is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flow_manager_core.log import get_log
from flow_manager_core.settings import Settings
from flow_manager_socketio.access import Access
from flow_manager_socketio.http import HttpRoutes
from plugins.socketio.tests.conftest import SmallGateway

pytestmark = pytest.mark.anyio

TOKEN = "a token that nobody can guess"
HERE, ELSEWHERE = ("127.0.0.1", 50000), ("192.0.2.7", 50000)
BEARER = {"Authorization": f"Bearer {TOKEN}"}


async def get(
    gateway: SmallGateway, path: str, client: tuple[str, int], headers: dict[str, str]
) -> tuple[int, dict[str, str], str]:
    """Ask as an ASGI server would; return status, headers and body."""
    routes = HttpRoutes(gateway, Access(Settings(token=TOKEN)), get_log("test"))  # type: ignore[arg-type]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    given = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "GET", "path": path, "headers": given, "client": client}
    await routes.app({**scope, "query_string": b"", "http_version": "1.1"}, receive, send)
    told = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], told, b"".join(m.get("body", b"") for m in sent[1:]).decode()


@pytest.mark.parametrize(
    ("client", "headers", "status"),
    [
        (HERE, {}, 200),
        (HERE, BEARER, 200),
        (ELSEWHERE, BEARER, 200),
        (ELSEWHERE, {}, 401),
        (ELSEWHERE, {"Authorization": "Bearer wrong"}, 401),
        (HERE, {"Authorization": "Bearer wrong"}, 401),
        (HERE, {"X-Forwarded-For": "192.0.2.7"}, 401),
        (HERE, {"X-Forwarded-For": "192.0.2.7", **BEARER}, 200),
    ],
)
async def test_numbers_are_told_on_this_machine_or_to_a_tokens_holder(
    client: Any, headers: dict[str, str], status: int
) -> None:
    answered, told, body = await get(SmallGateway(), "/metrics", client, headers)
    assert answered == status
    if status == 200:
        assert body == "flow_manager_clients 1.0\n"
        assert told["content-type"].startswith("text/plain; version=0.0.4")
    else:
        assert json.loads(body)["error_type"] == "validation_error"
        assert told["www-authenticate"] == "Bearer"


async def test_readiness_is_told_by_the_status() -> None:
    gateway = SmallGateway()
    status, _, body = await get(gateway, "/readyz", ELSEWHERE, {})
    assert (status, json.loads(body)) == (200, {"ready": True})
    gateway.healthy = False
    status, _, body = await get(gateway, "/readyz", ELSEWHERE, {})
    assert (status, json.loads(body)) == (503, {"ready": False})
