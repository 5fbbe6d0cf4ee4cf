"""Resource monitoring, on both event loops, with an engine in memory whose use a test sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from flow_manager_core.errors import EngineError, FlowManagerError, InvalidRequest
from flow_manager_core.events import ContainerStatusUpdated, ResourceAlerted, now
from flow_manager_core.models import ResourceUsage
from flow_manager_core.monitoring.thresholds import Alarm
from flow_manager_core.testing.memory_engine import MemoryEngine
from flow_manager_core.testing.memory_transport import MemoryNetwork
from tests.core.test_manager import SCRIPTED, House, house

pytestmark = pytest.mark.anyio

QUICK = {"monitoring_interval": 0.02}


def used(**numbers: Any) -> ResourceUsage:
    return ResourceUsage(timestamp=now(), **numbers)


def alerts(h: House) -> list[tuple[str, float, float]]:
    return [
        (e.resource_type, e.current_value, e.threshold)
        for e in h.told
        if isinstance(e, ResourceAlerted)
    ]


def updates(h: House) -> list[dict[str, Any]]:
    return [dict(e.status) for e in h.told if isinstance(e, ContainerStatusUpdated)]


async def rounds(h: House, count: int = 2) -> None:
    """Wait until so many more samples were told of."""
    before = len(updates(h))
    await h.until(lambda: len(updates(h)) >= before + count)


def set_use(h: House, key: str, **numbers: Any) -> None:
    (boxes,) = h.engine.boxes.values()
    (full,) = [one for one in boxes if one.startswith(key)]
    h.engine.usages[full] = used(**numbers)


async def test_every_running_container_is_told_of_every_interval() -> None:
    async with house(**QUICK) as h:
        key = await h.create("run")
        idle = await h.ask("create_container", image="memory", command=["run"])
        await rounds(h, 3)
        told = updates(h)
        assert {one["container_id"] for one in told} == {key}
        assert told[0]["state"] == "running"
        assert told[0]["resource_usage"]["memory_usage"] == 1_000_000
        assert idle["container_id"] not in str(told)
        status = await h.ask("get_container_status", container_id=key)
        assert told[0].keys() == status.keys()


async def test_use_is_measured_and_alarms_are_kept_while_nobody_listens() -> None:
    async with MemoryEngine(SCRIPTED).opened() as engine:
        h = House(engine, MemoryNetwork(), **QUICK)
        async with h.manager as manager:
            key = await h.create("run")
            set_use(h, key, memory_percent=95.0)

            async def measured() -> int:
                found = await h.ask("get_resource_usage_history", container_id=key)
                return len(found["history"])

            with anyio.fail_after(10):
                while await measured() < 3:
                    await anyio.sleep(0.005)
                async with manager.subscribe(since=manager.beginning) as events:
                    async for event in events:
                        if isinstance(event, ResourceAlerted):
                            break


async def test_a_crossing_is_told_once_and_again_only_after_the_use_fell_back() -> None:
    async with house(**QUICK) as h:
        key = await h.create("run")
        for percent, expected in ((95.0, 1), (99.0, 1), (50.0, 1), (90.0, 2), (91.0, 2)):
            set_use(h, key, memory_percent=percent)
            await rounds(h, 3)
            assert len(alerts(h)) == expected, percent
        assert alerts(h) == [("memory_percent", 95.0, 90.0), ("memory_percent", 90.0, 90.0)]
        (first, _) = [e for e in h.told if isinstance(e, ResourceAlerted)]
        assert first.usage_data["memory_percent"] == 95.0
        assert first.container_id.startswith(key)
        lines = [e.activity_type for e in h.told if e.name == "activity_log"]  # type: ignore[attr-defined]
        assert lines.count("resource_alert") == 2


async def test_any_number_that_is_measured_can_have_a_threshold() -> None:
    async with house(**QUICK) as h:
        key = await h.create("run")
        set_use(h, key, pids=7, cpu_percent=250.0)
        answer = await h.ask("set_resource_thresholds", thresholds={"pids": 7, "cpu_percent": None})
        assert answer == {"thresholds": {"memory_percent": 90.0, "pids": 7.0}}
        await rounds(h)
        assert alerts(h)[-1] == ("pids", 7, 7.0)
        assert "cpu_percent" not in [name for name, *_ in alerts(h)][1:]
        assert await h.ask("get_resource_thresholds") == answer


@pytest.mark.parametrize(
    ("thresholds", "fields"),
    [
        ({"weight": 1}, ["thresholds.weight"]),
        (
            {"cpu_percent": "90", "pids": -1, "memory_usage": True},
            ["thresholds.cpu_percent", "thresholds.memory_usage", "thresholds.pids"],
        ),
        ({"cpu_percent": float("nan")}, ["thresholds.cpu_percent"]),
        (None, ["thresholds"]),
        ([], ["thresholds"]),
    ],
)
async def test_thresholds_that_cannot_be_are_refused_and_change_nothing(
    thresholds: Any, fields: list[str]
) -> None:
    async with house() as h:
        before = await h.ask("get_resource_thresholds")
        with pytest.raises(InvalidRequest) as refused:
            await h.ask("set_resource_thresholds", thresholds=thresholds)
        assert sorted(fault["field"] for fault in refused.value.details["errors"]) == fields
        assert await h.ask("get_resource_thresholds") == before


async def test_monitoring_can_be_switched_off_and_on_at_run_time() -> None:
    async with house(**QUICK) as h:
        key = await h.create("run")
        await rounds(h)
        assert await h.ask("disable_resource_monitoring") == {"enabled": False}
        await anyio.sleep(0.1)
        count = len(updates(h))
        await anyio.sleep(0.1)
        assert len(updates(h)) == count
        history = await h.ask("get_resource_usage_history", container_id=key)
        assert len(history["history"]) >= 2
        assert await h.ask("enable_resource_monitoring") == {"enabled": True}
        await rounds(h)


async def test_the_history_is_bounded_and_gives_the_latest() -> None:
    async with house(**QUICK, monitoring_history=5) as h:
        key = await h.create("run")
        await rounds(h, 8)
        found = await h.ask("get_resource_usage_history", container_id=key)
        assert found["container_id"] == key
        assert found["limit"] == 100
        assert len(found["history"]) == 5
        times = [one["timestamp"] for one in found["history"]]
        assert times == sorted(times)
        latest = await h.ask("get_resource_usage_history", container_id=key, limit=2)
        assert len(latest["history"]) == 2
        assert latest["history"][-1]["timestamp"] >= times[-1]


async def test_the_choices_outlive_the_manager(tmp_path: Path) -> None:
    kept = {"journal": "sqlite", "state_dir": tmp_path, **QUICK}
    async with house(**kept) as h:
        await h.ask("set_resource_thresholds", thresholds={"pids": 3})
        await h.ask("disable_resource_monitoring")
    async with house(**kept) as h:
        told = await h.ask("get_resource_thresholds")
        assert told["thresholds"]["pids"] == 3.0
        await h.create("run")
        await anyio.sleep(0.1)
        assert updates(h) == []


async def test_a_backend_that_cannot_measure_now_stops_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with house(**QUICK) as h:
        await h.create("run")
        h.engine.faults["usage"] = EngineError("no such file")
        await rounds(h, 3)
        assert updates(h)[-1]["resource_usage"] is None
        told = [r for r in caplog.records if "could not be measured" in r.getMessage()]
        assert len(told) == 1
        h.engine.faults.clear()
        await h.until(lambda: updates(h)[-1]["resource_usage"] is not None)


async def test_nothing_is_kept_of_a_container_that_is_gone() -> None:
    async with house(**QUICK) as h:
        key = await h.create("run")
        await rounds(h)
        await h.ask("delete_container", container_id=key)
        with pytest.raises(FlowManagerError):
            await h.ask("get_resource_usage_history", container_id=key)
        monitor = h.manager._services.monitor  # type: ignore[union-attr]
        await h.until(lambda: not monitor._watched)


def test_what_was_not_measured_crosses_nothing_and_ends_no_alarm() -> None:
    alarm, limit = Alarm(), {"pids": 5.0}
    assert len(list(alarm.crossings(used(pids=5), limit))) == 1
    assert not list(alarm.crossings(used(), limit))
    assert not list(alarm.crossings(used(pids=6), limit))
    assert not list(alarm.crossings(used(pids=4), limit))
    assert len(list(alarm.crossings(used(pids=6), limit))) == 1


def test_a_threshold_that_was_taken_away_and_set_again_begins_anew() -> None:
    alarm = Alarm()
    assert list(alarm.crossings(used(pids=5), {"pids": 5.0}))
    assert not list(alarm.crossings(used(pids=5), {}))
    assert list(alarm.crossings(used(pids=5), {"pids": 5.0}))
