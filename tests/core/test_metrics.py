"""What a manager counts of itself, on both event loops, as Prometheus would read it."""

from __future__ import annotations

import time
import timeit

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families

from flow_manager_core.errors import EngineError, FlowManagerError
from flow_manager_core.metrics import OPENMETRICS_TYPE, Metrics
from flow_manager_core.models import Client
from tests.core.test_manager import NETWORK, House, house

pytestmark = pytest.mark.anyio


def read(h: House, name: str, **labels: str) -> float:
    """One sample; 0 where nothing was counted yet."""
    text, kind = h.manager.metrics()
    assert kind.startswith("text/plain")
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            if sample.name == f"flow_manager_{name}" and labels.items() <= sample.labels.items():
                return float(sample.value)
    return 0.0


async def test_requests_are_counted_by_operation_and_outcome_and_timed() -> None:
    async with house() as h:
        await h.create("run", name="one")
        for operation, payload in (
            ("start_container", {"container_id": "nobody"}),
            ("start_container", {}),
            ("no_such_thing", {}),
        ):
            with pytest.raises(FlowManagerError):
                await h.ask(operation, **payload)
        total = "operations_total"
        assert read(h, total, operation="create_container", outcome="ok") == 1
        assert read(h, total, operation="start_container", outcome="container_not_found") == 1
        assert read(h, total, operation="start_container", outcome="validation_error") == 1
        assert read(h, total, operation="unknown", outcome="validation_error") == 1
        assert read(h, "operation_duration_seconds_count", operation="start_container") == 2
        assert "no_such_thing" not in h.manager.metrics()[0].decode()


async def test_containers_channels_and_messages_are_counted() -> None:
    async with house(network=NETWORK) as h:
        made = await h.ask("create_container", image="flow", start=True)
        await h.until(lambda: h.names("socket_connected"))
        await h.create("run")
        key = made["container_id"]
        message = {"command": "x", "data": None}
        await h.ask("send_message", container_id=key, message=message, reply=True)
        await h.ask("send_message", container_id=key, message=message)
        await h.until(lambda: h.names("message_received"))
        assert read(h, "messages_total", direction="sent") == 2
        assert read(h, "messages_total", direction="received") == 1
        assert read(h, "containers", state="running") == 2
        assert read(h, "channels", state="connected") == 1
        assert read(h, "channels", state="disconnected") == 1


async def test_crashes_and_recoveries_are_counted_by_cause_and_step() -> None:
    async with house() as h:
        await h.create("exit", "3", restart={"policy": "on-crash"})
        await h.create("die", "9")
        await h.until(lambda: h.names("recovery_gave_up"))
        await h.until(lambda: read(h, "crashes_total", cause="signal") == 1)
        assert read(h, "crashes_total", cause="exit_code") == 4
        assert read(h, "recoveries_total", step="scheduled") == 3
        assert read(h, "recoveries_total", step="recovered") >= 0
        assert read(h, "recoveries_total", step="gave_up") == 1


async def test_the_engine_is_timed_and_its_outages_are_counted() -> None:
    async with house() as h:
        await h.create("run")
        await h.until(lambda: read(h, "engine_call_duration_seconds_count", call="list") > 1)
        assert read(h, "engine_call_duration_seconds_count", call="ping") > 0
        assert read(h, "engine_call_duration_seconds_count", call="inspect") > 0
        assert read(h, "engine_up") == 1
        assert h.manager.ready()
        h.engine.away = True
        await h.until(lambda: read(h, "engine_up") == 0)
        await h.until_health("degraded")
        assert not h.manager.ready()
        assert read(h, "engine_outages_total") == 1
        assert read(h, "engine_call_failures_total", call="ping") > 0
        h.engine.away = False
        await h.until(h.manager.ready)


async def test_clients_are_counted_in_and_out_by_frontend() -> None:
    async with house() as h:
        sessions = [h.manager.session(Client("test", str(number))) for number in range(3)]
        assert read(h, "clients", frontend="test") == 3
        for session in sessions:
            session.close()
            session.close()
        assert read(h, "clients", frontend="test") == 0


async def test_the_bus_tells_its_depth_and_whom_it_cut_off() -> None:
    async with house() as h:
        assert read(h, "event_bus_subscribers") == 1
        async with h.manager.subscribe():
            await h.create("run")
            assert read(h, "event_bus_subscribers") == 2
            assert read(h, "event_bus_depth") > 0
        assert read(h, "event_bus_drops_total") == 0


async def test_health_and_alerts_are_counted() -> None:
    async with house(monitoring_interval=0.02) as h:
        check = {"check_type": "socket", "interval": 0.02, "retries": 1}
        await h.create("run", health_check=check)
        await h.ask("set_resource_thresholds", thresholds={"pids": 0})
        await h.until(lambda: read(h, "health_warnings_total", health="unhealthy") > 0)
        await h.until(lambda: read(h, "resource_alerts_total", resource_type="pids") == 1)


async def test_two_managers_count_apart_and_a_new_life_begins_at_0() -> None:
    async with house() as one, house() as other:
        await one.create("run")
        one.engine.faults["create"] = EngineError("no")
        with pytest.raises(EngineError):
            await one.create("run")
        assert read(one, "operations_total", outcome="docker_api_error") == 1
        assert read(other, "operations_total", operation="create_container") == 0
        assert read(other, "engine_up") == 1


async def test_calls_that_change_something_are_timed_each_by_its_name() -> None:
    async with house() as h:
        key = await h.create("run")
        await h.ask("get_container_logs", container_id=key)
        await h.ask("stop_container", container_id=key)
        await h.ask("delete_container", container_id=key)
        for call in ("create", "start", "logs", "stop", "remove"):
            assert read(h, "engine_call_duration_seconds_count", call=call) == 1
        h.engine.faults["create"] = EngineError("no")
        with pytest.raises(EngineError):
            await h.create("run")
        assert read(h, "engine_call_failures_total", call="create") == 1


async def test_a_scrape_says_which_manager_it_is_of() -> None:
    async with house() as h:
        assert read(h, "info", version=h.manager.version, backend="memory") == 1


async def test_a_subscriber_that_is_cut_off_is_counted() -> None:
    async with house() as h, h.manager.subscribe():
        h.manager._bus._subscriptions[-1].cut_off()
        assert read(h, "event_bus_drops_total") == 1


class Unheard(FlowManagerError):
    error_type = "made up by a plugin"  # type: ignore[misc]


async def test_a_plugins_own_type_of_failure_is_no_label() -> None:
    async with house() as h:
        h.engine.faults["create"] = Unheard("no")  # type: ignore[assignment]
        with pytest.raises(Unheard):
            await h.create("run")
        assert read(h, "operations_total", outcome="other") == 1
        assert "made up" not in h.manager.metrics()[0].decode()


async def test_a_scrape_waits_for_no_engine() -> None:
    async with house() as h:
        await h.create("run")
        h.engine.away = True
        await h.until(lambda: read(h, "engine_up") == 0)
        assert read(h, "containers", state="running") == 1


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/plain;version=1.0.0;escaping=x\r\ny", "text/plain; version=0.0.4; charset=utf-8"),
        (
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
        ("application/openmetrics-text;version=nonsense", OPENMETRICS_TYPE),
    ],
)
async def test_the_format_is_the_one_that_is_asked_for_in_its_own_words(
    accept: str, kind: str
) -> None:
    async with house() as h:
        await h.create("run")
        text, told = h.manager.metrics(accept)
        assert told == kind
        parse = openmetrics_families if kind == OPENMETRICS_TYPE else text_string_to_metric_families
        names = {family.name for family in parse(text.decode())}
        assert {"flow_manager_operations", "flow_manager_engine_up"} <= names


@pytest.mark.alone
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_scrape_of_1000_containers_takes_less_than_50_ms() -> None:
    async with house(reconcile_interval=60.0) as h:
        for number in range(1000):
            await h.ask("create_container", image="memory", name=f"n{number}")
        times = []
        for _ in range(5):
            began = time.perf_counter()
            h.manager.metrics()
            times.append(time.perf_counter() - began)
        assert read(h, "containers", state="created") == 1000
        print(f"a scrape of 1000 containers: {min(times) * 1000:.1f} ms")
        assert min(times) < 0.05


@pytest.mark.alone
def test_counting_a_message_takes_less_than_5_microseconds() -> None:
    metrics = Metrics()
    each = min(timeit.repeat(lambda: metrics.message("sent"), number=10_000, repeat=5)) / 10_000
    print(f"counting a message: {each * 1e6:.2f} us")
    assert each < 5e-6
