"""`/metrics` and `/readyz` of the real service, read as Prometheus does."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from anyio import to_thread
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from tests.e2e.client import Client
from tests.e2e.service import Service

pytestmark = pytest.mark.anyio

#: What Prometheus 2.x sends.
OFFERED = (
    "application/openmetrics-text;version=1.0.0;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.fixture(scope="module")
def processes(tmp_path_factory: Any) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("scrape"), "process", "python", "") as running:
        yield running


def get(service: Service, path: str, **headers: str) -> tuple[int, str, str]:
    request = urllib.request.Request(service.url + path, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers["content-type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["content-type"], error.read().decode()


@pytest.mark.parametrize(
    ("accept", "kind", "parse"),
    [
        ("", "text/plain; version=0.0.4", plain),
        (OFFERED, "application/openmetrics-text; version=1.0.0", openmetrics),
    ],
)
@pytest.mark.parametrize("known", [False, True])
async def test_a_scrape_tells_what_a_client_has_done(
    processes: Service, accept: str, kind: str, parse: Any, known: bool
) -> None:
    headers = {"Authorization": f"Bearer {processes.token}"} if known else {}
    async with Client(processes) as client:
        key = await client.create(command=["-c", "import sys; sys.exit(3)"], start=True)
        await client.event("container_crashed", container_id=key)
        status, told, text = await to_thread.run_sync(
            lambda: get(processes, "/metrics", Accept=accept, **headers)
        )
    assert status == 200
    assert told.startswith(kind)
    found = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in parse(text)
        for sample in family.samples
    }
    created = ("operation", "create_container")
    assert found["flow_manager_operations_total", created, ("outcome", "ok")] >= 1
    assert found["flow_manager_operation_duration_seconds_count", created] >= 1
    assert found["flow_manager_engine_call_duration_seconds_count", ("call", "start")] >= 1
    assert found["flow_manager_crashes_total", ("cause", "exit_code")] >= 1
    assert found["flow_manager_clients", ("frontend", "socketio")] == 1
    assert found["flow_manager_engine_up",] == 1
    assert key not in text


async def test_a_wrong_token_gets_no_numbers_and_readiness_needs_none(processes: Service) -> None:
    status, _, text = await to_thread.run_sync(
        lambda: get(processes, "/metrics", Authorization="Bearer wrong")
    )
    assert status == 401
    assert "flow_manager_" not in text
    assert await to_thread.run_sync(get, processes, "/readyz") == (
        200,
        "application/json",
        '{"ready":true}',
    )
