"""`/metrics` and `/readyz`: who may ask, and what the answer is."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from flow_manager_core.log import get_log
from flow_manager_core.settings import Settings
from flow_manager_socketio.access import Access
from flow_manager_socketio.http import HttpRoutes
from plugins.socketio.tests.conftest import SmallGateway

TOKEN = "a token that nobody can guess"
HERE, ELSEWHERE = ("127.0.0.1", 50000), ("192.0.2.7", 50000)
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def asking(gateway: SmallGateway, client: tuple[str, int]) -> TestClient:
    routes = HttpRoutes(gateway, Access(Settings(token=TOKEN)), get_log("test"))  # type: ignore[arg-type]
    return TestClient(routes.app, client=client)


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
def test_numbers_are_told_on_this_machine_or_to_a_tokens_holder(
    client: Any, headers: dict[str, str], status: int
) -> None:
    answer = asking(SmallGateway(), client).get("/metrics", headers=headers)
    assert answer.status_code == status
    if status == 200:
        assert answer.text == "flow_manager_clients 1.0\n"
        assert answer.headers["content-type"] == "text/plain; version=0.0.4"
    else:
        assert answer.json()["error_type"] == "validation_error"
        assert answer.headers["www-authenticate"] == "Bearer"


def test_readiness_is_told_by_the_status() -> None:
    gateway = SmallGateway()
    client = asking(gateway, ELSEWHERE)
    assert (client.get("/readyz").status_code, client.get("/readyz").json()) == (
        200,
        {"ready": True},
    )
    gateway.healthy = False
    assert client.get("/readyz").status_code == 503
