"""One engine, several lives of the manager: what is recorded holds, and what happened is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from flow_manager_core.contracts import Position, Selection
from flow_manager_core.desired import Job, Wish
from flow_manager_core.errors import ConfigurationError, EngineError, EngineUnavailable
from flow_manager_core.events import GapFound, SnapshotTaken
from flow_manager_core.evidence import BLINK
from flow_manager_core.settings import OnExit
from flow_manager_core.testing.memory_backend import SCRIPTED, MemoryEngine
from flow_manager_core.testing.memory_transport import MemoryNetwork
from tests.core.test_manager import House, hold, house

pytestmark = pytest.mark.anyio


class World:
    """An engine and a folder that outlive managers."""

    def __init__(self, engine: MemoryEngine, folder: Path) -> None:
        self.engine = engine
        self.folder = folder

    @asynccontextmanager
    async def life(self, **settings: Any) -> AsyncIterator[House]:
        async with house(
            self.engine,
            MemoryNetwork(),
            journal="sqlite",
            state_dir=self.folder,
            **settings,
        ) as found:
            yield found

    async def refuses(self, words: str, **settings: Any) -> None:
        """A further manager does not start."""
        given = {"journal": "sqlite", "state_dir": self.folder, **settings}
        with pytest.raises(ConfigurationError, match=words):
            async with House(self.engine, MemoryNetwork(), **given).manager:
                pass

    def boxes(self) -> list[Any]:
        return [box for boxes in self.engine.boxes.values() for box in boxes.values()]

    def kill(self, number: int = 9) -> None:
        for box in self.boxes():
            self.engine.kill(box, number)

    async def until_quiet(self) -> None:
        with anyio.fail_after(5):
            while any(box.run for box in self.boxes()):
                await anyio.sleep(0.001)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with anyio.create_task_group() as group:
        engine = await group.start(hold, SCRIPTED)
        yield World(engine, tmp_path)
        group.cancel_scope.cancel()


def told(h: House, name: str) -> list[Any]:
    return [event for event in h.told if event.name == name]


async def state(h: House, key: str) -> str:
    return str((await h.until_answered("get_container_status", container_id=key))["state"])


async def test_a_crash_while_the_manager_was_away_is_told_once(world: World) -> None:
    async with world.life() as h:
        key = await h.create("run")
    world.kill()
    await world.until_quiet()
    async with world.life() as h:
        (crash,) = told(h, "container_crashed")
        assert crash.exit_code == 137
        assert [(e.old_state, e.new_state) for e in told(h, "status_changed")] == [
            ("running", "exited")
        ]
    async with world.life() as h:
        assert told(h, "container_crashed") == []
        assert await state(h, key) == "exited"


async def test_a_crash_while_the_manager_was_away_is_put_right_by_policy(world: World) -> None:
    async with world.life() as h:
        key = await h.create("run", restart={"policy": "on-crash"})
    world.kill()
    await world.until_quiet()
    async with world.life() as h:
        await h.until(lambda: told(h, "container_recovered"))
        assert await state(h, key) == "running"
        assert len(told(h, "container_crashed")) == 1
        assert [e.attempt for e in told(h, "container_recovered")] == [1]


async def test_a_container_that_was_stopped_stays_stopped(world: World) -> None:
    async with world.life() as h:
        key = await h.create("run", restart={"policy": "always"})
        await h.ask("stop_container", container_id=key)
    async with world.life() as h:
        await h.ask("list_containers")
        assert await state(h, key) == "stopped"
        assert told(h, "container_crashed") == []


async def test_a_flow_that_waited_for_its_restart_is_restarted_with_its_count(
    world: World,
) -> None:
    async with world.life() as h:
        key = await h.create("run", restart={"policy": "on-crash"})
        h.kill()
        await h.until(lambda: "container_recovered" in h.names("container_recovered"))
        h.engine.faults["start"] = EngineUnavailable("away")
        h.kill()
        await h.until(lambda: len(h.names("recovery_scheduled")) == 2)
    world.engine.faults.clear()
    async with world.life() as h:
        await h.until(lambda: told(h, "container_recovered"))
        assert [e.attempt for e in told(h, "container_recovered")] == [2]
        assert (await h.ask("get_container_status", container_id=key))["restarts"] == 2


async def test_a_stop_from_outside_while_the_manager_was_away_is_no_crash(world: World) -> None:
    async with world.life() as h:
        key = await h.create("run", restart={"policy": "on-crash"})
    world.kill(15)
    await world.until_quiet()
    async with world.life() as h:
        await h.ask("list_containers")
        assert await state(h, key) == "stopped"
        assert told(h, "container_crashed") == []


async def test_one_instance_has_one_manager(world: World) -> None:
    async with world.life():
        await world.refuses("another manager of the instance")
        async with world.life(instance="other"):
            pass
    async with world.life():
        pass


async def test_what_is_stopped_at_the_exit_runs_after_the_next_start(world: World) -> None:
    async with world.life(on_exit=OnExit.STOP) as h:
        key = await h.create("run")
        idle = await h.create("run")
        await h.ask("stop_container", container_id=idle)
    assert not any(box.run for box in world.boxes())
    async with world.life() as h:
        await h.until_state(key, "running")
        assert await state(h, idle) == "stopped"
        assert told(h, "container_crashed") == []


async def test_a_journal_that_cannot_be_read_is_kept_and_refuses_the_start(world: World) -> None:
    async with world.life() as h:
        key = await h.create("run")
    (path,) = world.folder.glob("instances/*/journal.sqlite")
    assert list(path.parent.glob("journal.sqlite-*")) == []
    path.write_bytes(b"not a database, but something that somebody may want to look at" * 100)
    before = path.read_bytes()
    await world.refuses("cannot be read")
    assert path.read_bytes() == before
    path.rename(path.with_suffix(".damaged"))
    async with world.life() as h:
        assert await state(h, key) == "running"


async def test_a_delete_that_was_cut_off_is_finished(world: World) -> None:
    async with world.life() as h:
        await h.create("run")
        (record,) = h.manager._services.registry  # type: ignore[union-attr]
        await h.manager._services.ledger.note(record, wish=Wish.GONE)  # type: ignore[union-attr]
    async with world.life() as h:
        with anyio.fail_after(5):
            while (await h.ask("list_containers"))["count"]:
                await anyio.sleep(0.001)
    assert world.boxes() == []


async def test_a_create_that_was_cut_off_is_finished(world: World) -> None:
    async with world.life() as h:
        made = await h.ask("create_container", image="memory", command=["run"], request_id="r1")
        (record,) = h.manager._services.registry  # type: ignore[union-attr]
        await h.manager._services.ledger.note(  # type: ignore[union-attr]
            record, job=Job.CREATE, start=True, container_id=""
        )
    async with world.life() as h:
        await h.until_state(made["container_id"], "running")
        again = await h.ask("create_container", image="memory", command=["run"], request_id="r1")
        assert again["container_id"] == made["container_id"]
        assert (await h.ask("list_containers"))["count"] == 1


async def test_a_container_that_went_away_meanwhile_leaves_no_entry(world: World) -> None:
    async with world.life() as h:
        await h.create("run")
    (box,) = world.boxes()
    await world.engine.remove(box)
    async with world.life() as h:
        assert (await h.ask("list_containers"))["count"] == 0
        assert h.manager._services.ledger.strays == {}  # type: ignore[union-attr]


async def test_two_instances_share_an_engine_and_see_their_own(world: World) -> None:
    async with world.life() as one, world.life(instance="other") as two:
        key = await one.create("run")
        assert (await two.ask("list_containers"))["count"] == 0
        await two.create("run")
        assert [c["id"] for c in (await one.ask("list_containers"))["containers"]] == [key]


async def test_an_engine_that_closes_is_listened_to_until_its_last_stop(world: World) -> None:
    async with world.life() as h:
        key = await h.create("stubborn", restart={"policy": "on-crash"})
        # One that closes takes no new connection, while its flows are asked to end, then killed.
        h.engine.faults["ping"] = EngineUnavailable("The engine does not answer", unsent=True)
        await h.until_health("degraded")
        await anyio.sleep(2 * BLINK)
        (box,) = world.boxes()
        await h.engine.stop(box, 0.05)
        del h.engine.faults["ping"]
        await h.engine.restart(ends_flows=True)
        await h.until(lambda: told(h, "container_recovered"))
        assert told(h, "container_crashed") == []
        assert [event.attempt for event in told(h, "container_recovered")] == [0]
        assert await state(h, key) == "running"


async def test_a_first_run_that_nobody_saw_before_the_engine_ended_it_is_brought_back(
    world: World,
) -> None:
    async with world.life(retry_for=0.0) as h:
        made = await h.ask(
            "create_container", image="memory", command=["run"], restart={"policy": "on-crash"}
        )
        (box,) = world.boxes()
        # The engine starts it, but goes before it has said so.
        h.engine.faults["start"] = EngineUnavailable("The engine stopped answering")
        with pytest.raises(EngineUnavailable):
            await h.ask("start_container", container_id=made["container_id"])
        h.engine.away = True
        h.engine.start(box)
        h.engine.faults.clear()
        await h.engine.restart(ends_flows=True)
        await h.until(lambda: told(h, "container_recovered"))
        assert told(h, "container_crashed") == []
        assert [event.attempt for event in told(h, "container_recovered")] == [0]


async def test_what_an_engine_that_closes_kills_without_a_word_did_not_crash(world: World) -> None:
    world.engine.keeps_flows = False
    async with world.life() as h:
        await h.create("run", restart={"policy": "on-crash"})
        (box,) = world.boxes()
        # What it began while it closes is not asked to end: it is killed, and nobody told of that.
        h.engine.faults["ping"] = EngineUnavailable("The engine does not answer", unsent=True)
        h.engine.kill(box, 9)
        await h.until(lambda: "exited" in [e.new_state for e in told(h, "status_changed")])
        del h.engine.faults["ping"]
        await h.engine.restart(ends_flows=True)
        await h.until(lambda: told(h, "container_recovered"))
        assert told(h, "container_crashed") == []
        assert [event.attempt for event in told(h, "container_recovered")] == [0]


async def test_a_manager_that_never_reached_the_engine_says_of_no_container_that_it_is_absent(
    world: World,
) -> None:
    async with world.life() as h:
        key = await h.create("run", name="one", request_id="r1")
    world.engine.away = True
    async with world.life() as h:
        for operation, payload in (
            ("get_container_status", {"container_id": key}),
            ("send_message", {"container_id": "one", "message": {"command": "x"}}),
            ("create_container", {"image": "memory", "name": "one", "request_id": "r2"}),
        ):
            with pytest.raises(EngineUnavailable):
                await h.ask(operation, **payload)
        world.engine.away = False
        await h.until_state(key, "running")
        assert (await h.ask("list_containers"))["count"] == 1


async def test_a_restart_that_failed_in_passing_is_made_up_for(world: World) -> None:
    async with world.life(retry_for=0.0) as h:
        key = await h.create("run")
        h.engine.faults["start"] = EngineError("The engine stumbles", retryable=True)
        with pytest.raises(EngineError):
            await h.ask("restart_container", container_id=key)
        del h.engine.faults["start"]
        await h.until_state(key, "running")
        assert told(h, "container_crashed") == []


async def test_a_start_that_the_engine_refuses_is_not_tried_for_ever(world: World) -> None:
    async with world.life() as h:
        key = await h.create("run")
        h.engine.faults["start"] = EngineError("The port is taken")
        with pytest.raises(EngineError):
            await h.ask("restart_container", container_id=key)
        del h.engine.faults["start"]
        await anyio.sleep(0.3)
        assert await state(h, key) == "stopped"


async def test_a_host_that_comes_back_to_a_later_life_has_missed_nothing(world: World) -> None:
    chosen = Selection(events=frozenset({"status_changed"}))
    async with world.life() as h:
        key = await h.create("run")
        since = h.manager.position
        await h.ask("stop_container", container_id=key)
    async with world.life() as h:
        await h.ask("start_container", container_id=key)
        async with h.manager.subscribe(since=since, selection=chosen) as events:
            with anyio.fail_after(10):
                told = [h.manager.event_body(await anext(events)) for _ in range(2)]
        assert [event["new_state"] for event in told] == ["stopped", "running"]
        assert all(event["epoch"] == since.epoch for event in told)


async def test_a_host_that_comes_back_to_another_journal_is_told_of_the_gap(world: World) -> None:
    since = Position("another", 7)
    async with world.life() as h:
        await h.create("run", name="one")
        await h.create("run", name="two")
        chosen = Selection(containers=("two",), events=frozenset({"status_changed"}))
        async with h.manager.subscribe(since=since, selection=chosen) as events:
            gap, snapshot = await anext(events), await anext(events)
            assert isinstance(gap, GapFound)
            assert gap.reason == "epoch"
            assert isinstance(snapshot, SnapshotTaken)
            assert [container["name"] for container in snapshot.containers] == ["two"]
            for name in ("one", "two"):
                await h.ask("stop_container", container_id=name)
            with anyio.fail_after(10):
                event = await anext(events)
            assert event.seq > snapshot.seq == gap.to
            assert h.manager.event_body(event)["new_state"] == "stopped"
            assert h.manager.selects(chosen, event)
