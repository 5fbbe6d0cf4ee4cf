"""Backup and restore as clients see them, with providers in memory, on both event loops."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from attrs import frozen

from flow_manager_core import FlowManager, FlowManagerError, PluginHost, Settings
from flow_manager_core.contracts import ContainerBackend, PartSink, PartSource, Snapshots
from flow_manager_core.errors import ContainerNotFound, EngineError, InvalidRequest, SystemFault
from flow_manager_core.events import BackupProgressed, Event, StatusChanged
from flow_manager_core.models import Part
from flow_manager_core.providers import BackendProvider
from flow_manager_core.testing.memory_backend import (
    SCRIPTED,
    MemoryBackend,
    MemoryEngine,
    memory_provider,
)
from flow_manager_core.testing.memory_transport import MemoryNetwork, memory_transport_provider
from tests.core.archives import tar_of, write

pytestmark = pytest.mark.anyio

PATIENCE = 10.0


class Held(MemoryBackend):
    """A backend whose transfers wait until they may go on."""

    def __init__(self, engine: MemoryEngine) -> None:
        super().__init__(engine, "default")
        self.reached = anyio.Event()
        self.go = anyio.Event()

    async def save(self, container_id: str, part: Part, sink: PartSink) -> None:
        self.reached.set()
        await self.go.wait()
        await super().save(container_id, part, sink)

    async def fill(self, container_id: str, part: Part, source: PartSource) -> None:
        self.reached.set()
        await self.go.wait()
        await super().fill(container_id, part, source)


def provider_of(backend: Any) -> BackendProvider:
    @asynccontextmanager
    async def factory(_context: Any) -> AsyncIterator[ContainerBackend]:
        yield backend

    return BackendProvider(name="memory", summary="", factory=factory)


@frozen
class House:
    """A manager in memory with its folder for backups."""

    manager: FlowManager
    engine: MemoryEngine
    backups: Path

    async def ask(self, request: str, /, **payload: Any) -> dict[str, Any]:
        with anyio.fail_after(PATIENCE):
            return await self.manager.execute(request, payload)

    async def refused(self, request: str, /, **payload: Any) -> FlowManagerError:
        with pytest.raises(FlowManagerError) as caught:
            await self.ask(request, **payload)
        return caught.value

    async def flow(self, name: str = "flow", *command: str, **more: Any) -> str:
        """A container that has counted its runs once."""
        payload = {"image": "memory", "name": name, "command": list(command or ("count",))}
        made = await self.ask("create_container", start=True, **payload, **more)
        return str(made["container_id"])

    async def ended(self, container_id: str) -> list[str]:
        """Wait for the end of the run; return all that the program has printed."""
        with anyio.fail_after(PATIENCE):
            while (await self.status(container_id)) == "running":
                await anyio.sleep(0.01)
        lines = (await self.ask("get_container_logs", container_id=container_id))["lines"]
        return [line["line"] for line in lines]

    async def status(self, container_id: str) -> str:
        return str((await self.ask("get_container_status", container_id=container_id))["state"])

    async def names(self) -> list[str]:
        listed = (await self.ask("list_containers"))["containers"]
        return sorted(entry["name"] for entry in listed)

    def files(self) -> list[str]:
        found = self.backups.rglob("*") if self.backups.exists() else ()
        return sorted(str(path.relative_to(self.backups)) for path in found)


@asynccontextmanager
async def housed(
    engine: MemoryEngine, root: Path, backend: Any = None, **settings: Any
) -> AsyncIterator[House]:
    manager = FlowManager(
        Settings(**{"state_dir": root, "reconcile_interval": 0.05, **settings}),
        host=PluginHost(installed=False),
        backend=memory_provider(engine) if backend is None else provider_of(backend),
        transport=memory_transport_provider(MemoryNetwork()),
    )
    async with manager:
        yield House(manager, engine, root / "backups")


@pytest.fixture
async def engine() -> AsyncIterator[MemoryEngine]:
    async with MemoryEngine(SCRIPTED).opened() as opened:
        yield opened


@pytest.fixture
async def house(engine: MemoryEngine, tmp_path: Path) -> AsyncIterator[House]:
    async with housed(engine, tmp_path) as made:
        yield made


ASKED = {
    "environment": {"KEY": "secret value"},
    "labels": {"team": "a"},
    "restart": {"policy": "on-crash", "max_attempts": 7, "first_delay": 0.5},
    "health_check": {"check_type": "command", "command": ["true"], "retries": 9},
    "stop_timeout": 3.0,
}


async def test_what_was_destroyed_comes_back_with_its_state(house: House) -> None:
    first = await house.flow(**ASKED)
    assert await house.ended(first) == ["1"]
    told = await house.ask("backup_container", container_id=first, path="day/one.tar")
    assert told["status"] == "backed_up"
    assert told["path"] == str(house.backups / "day/one.tar")
    before = house.engine.boxes["default"][house.manager._services.registry.find(first).id]
    await house.ask("delete_container", container_id=first)
    assert await house.names() == []
    made = await house.ask("restore_container", path="day/one.tar", start=True)
    second = made["container_id"]
    assert second != first
    assert made["name"] == "flow"
    assert (await house.ended(second))[-1] == "2"
    registry = house.manager._services.registry
    after = house.engine.boxes["default"][registry.find(second).id]
    assert after.plan.spec == before.plan.spec
    terms = registry.find(second).terms
    assert terms.restart.max_attempts == 7
    assert terms.health_check.retries == 9


async def test_an_archive_says_what_is_in_it_but_no_secret(house: House) -> None:
    first = await house.flow(**ASKED)
    told = await house.ask("backup_container", container_id=first, path="one.tar")
    said = await house.ask("verify_backup", path="one.tar")
    del told["container_id"]
    assert said == {**told, "status": "whole"}
    assert said["size"] == (house.backups / "one.tar").stat().st_size
    assert "secret value" not in str(said) + str(told)


async def test_a_restored_container_is_a_new_one_beside_the_old(house: House) -> None:
    first = await house.flow()
    await house.ask("backup_container", container_id=first, path="one.tar")
    error = await house.refused("restore_container", path="one.tar")
    assert isinstance(error, EngineError)
    assert "already in use" in error.message
    await house.ask("restore_container", path="one.tar", name="other")
    assert await house.names() == ["flow", "other"]
    assert await house.status("other") == "created"


async def test_the_same_restore_sent_again_makes_nothing_new(house: House) -> None:
    first = await house.flow()
    await house.ask("backup_container", container_id=first, path="one.tar")
    asked = {"path": "one.tar", "name": "other", "request_id": "r1"}
    made = await house.ask("restore_container", **asked)
    again = await house.ask("restore_container", **asked)
    assert again["container_id"] == made["container_id"]
    error = await house.refused("restore_container", **{**asked, "name": "third"})
    assert isinstance(error, InvalidRequest)


async def test_a_running_flow_is_halted_for_its_backup_and_goes_on(house: House) -> None:
    first = await house.flow("flow", "run")
    told: list[Event] = []
    async with house.manager.subscribe() as events:
        await house.ask("backup_container", container_id=first, path="one.tar", request_id="r1")
        assert await house.status(first) == "running"
        moves = 0
        with anyio.fail_after(PATIENCE):
            while moves < 2 or not isinstance(told[-1], BackupProgressed):
                told.append(await anext(events))
                moves += isinstance(told[-1], StatusChanged)
    states = [(e.old_state, e.new_state) for e in told if isinstance(e, StatusChanged)]
    assert states == [("running", "paused"), ("paused", "running")]
    progress = [event for event in told if isinstance(event, BackupProgressed)]
    assert {event.request_id for event in progress} == {"r1"}
    assert any(event.phase == "save:filesystem" and event.current > 0 for event in progress)


async def test_without_pause_a_flow_is_not_halted(house: House) -> None:
    first = await house.flow("flow", "run")
    house.engine.faults["freeze"] = EngineError("must not be asked")
    await house.ask("backup_container", container_id=first, path="one.tar", pause=False)


async def test_parts_can_be_left_out_and_that_is_said(house: House) -> None:
    first = await house.flow()
    told = await house.ask(
        "backup_container", container_id=first, path="one.tar", exclude=["filesystem"]
    )
    assert told["parts"] == []
    assert told["left_out"] == ["filesystem: excluded by request"]
    made = await house.ask("restore_container", path="one.tar", name="other", start=True)
    assert await house.ended(made["container_id"]) == ["1"]


async def test_code_is_a_part_of_its_own_without_the_file_system(
    house: House, tmp_path: Path
) -> None:
    code = Path.cwd() / ".cache" / tmp_path.name
    code.mkdir(parents=True)
    try:
        (code / "main.py").write_text("the code")
        first = await house.flow("flow", "show", "main.py", code_path=str(code))
        told = await house.ask(
            "backup_container", container_id=first, path="one.tar", exclude=["filesystem"]
        )
    finally:
        (code / "main.py").unlink()
        code.rmdir()
    assert [part["kind"] for part in told["parts"]] == ["code"]
    made = await house.ask("restore_container", path="one.tar", name="other", start=True)
    assert await house.ended(made["container_id"]) == ["the code"]


async def test_a_backup_that_failed_leaves_nothing_and_the_flow_goes_on(house: House) -> None:
    first = await house.flow("flow", "run")
    house.engine.faults["save"] = EngineError("the engine refuses")
    error = await house.refused("backup_container", container_id=first, path="one.tar")
    assert error.message == "the engine refuses"
    assert house.files() == []
    assert await house.status(first) == "running"


@pytest.mark.parametrize("step", ["create", "fill"])
async def test_a_restore_that_failed_leaves_nothing(house: House, step: str) -> None:
    first = await house.flow()
    await house.ask("backup_container", container_id=first, path="one.tar")
    await house.ask("delete_container", container_id=first)
    house.engine.faults[step] = EngineError("the engine refuses")
    error = await house.refused("restore_container", path="one.tar")
    assert error.message == "the engine refuses"
    house.engine.faults.clear()
    assert await house.names() == []
    made = await house.ask("restore_container", path="one.tar", start=True)
    assert (await house.ended(made["container_id"]))[-1] == "2"


async def test_a_damaged_archive_changes_nothing(house: House) -> None:
    first = await house.flow()
    await house.ask("backup_container", container_id=first, path="one.tar")
    await house.ask("delete_container", container_id=first)
    path = house.backups / "one.tar"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    made_before = house.engine._made
    for request in ("restore_container", "verify_backup"):
        error = await house.refused(request, path="one.tar")
        assert error.error_type == "validation_error"
        assert "damaged" in error.message or "cannot be read" in error.message
    assert await house.names() == []
    assert house.engine._made == made_before
    assert path.read_bytes() == data


async def test_a_backup_of_another_backend_is_named(house: House) -> None:
    write(house.backups / "one.tar", {"filesystem": tar_of()}, changes={"backend": "docker"})
    error = await house.refused("restore_container", path="one.tar")
    assert "was made by the docker backend" in error.message


@pytest.mark.parametrize("more", [{"start": True}, {"code_path": "/tmp"}])
async def test_a_manifest_that_asks_for_more_than_a_container_is_refused(
    house: House, more: Any
) -> None:
    asked = {"image": "memory", "name": "flow", **more}
    write(house.backups / "one.tar", {"filesystem": tar_of()}, changes={"container": asked})
    error = await house.refused("restore_container", path="one.tar")
    assert error.error_type == "validation_error"
    assert await house.names() == []


async def test_a_volume_outside_the_allowed_folders_is_refused(house: House) -> None:
    asked = {"image": "memory", "name": "flow", "volumes": {"/etc": "/data"}}
    write(house.backups / "one.tar", {"filesystem": tar_of()}, changes={"container": asked})
    error = await house.refused("restore_container", path="one.tar")
    assert "volume_roots" in error.message
    assert await house.names() == []


async def test_a_delete_waits_for_the_backup_and_others_do_not(
    engine: MemoryEngine, tmp_path: Path
) -> None:
    held = Held(engine)
    async with housed(engine, tmp_path, held) as house, anyio.create_task_group() as group:
        first = await house.flow("flow", "run")
        await house.flow("other", "run")
        backed_up, deleted = anyio.Event(), anyio.Event()

        async def back_up() -> None:
            await house.ask("backup_container", container_id=first, path="one.tar")
            assert not deleted.is_set()
            backed_up.set()

        async def delete() -> None:
            await house.ask("delete_container", container_id=first)
            deleted.set()

        group.start_soon(back_up)
        await held.reached.wait()
        group.start_soon(delete)
        assert await house.status(first) == "paused"
        await house.ask("restart_container", container_id="other")
        assert not deleted.is_set()
        held.go.set()
        await deleted.wait()
        assert backed_up.is_set()
        assert house.files() == ["one.tar"]


async def test_only_so_many_transfers_go_on_at_a_time(engine: MemoryEngine, tmp_path: Path) -> None:
    held = Held(engine)
    async with housed(engine, tmp_path, held) as house, anyio.create_task_group() as group:
        for name in ("aa", "bb", "cc"):
            await house.flow(name, "run")

        async def back_up(name: str) -> None:
            await house.ask("backup_container", container_id=name, path=f"{name}.tar")

        group.start_soon(back_up, "aa")
        group.start_soon(back_up, "bb")
        with anyio.fail_after(PATIENCE):
            while {await house.status("aa"), await house.status("bb")} != {"paused"}:
                await anyio.sleep(0.01)
        error = await house.refused("backup_container", container_id="cc", path="cc.tar")
        assert error.retryable
        held.go.set()
    assert house.files() == ["aa.tar", "bb.tar"]


async def test_a_transfer_in_which_nothing_moves_is_ended_by_name(
    engine: MemoryEngine, tmp_path: Path
) -> None:
    held = Held(engine)
    async with housed(engine, tmp_path, held, backup_stall_timeout=0.2) as house:
        first = await house.flow("flow", "run")
        error = await house.refused("backup_container", container_id=first, path="one.tar")
        assert isinstance(error, SystemFault)
        assert "Nothing has moved for 0.2 seconds in the phase save:filesystem" in error.message
        assert house.files() == []
        assert await house.status(first) == "running"


async def test_a_manager_that_closes_leaves_no_half_backup_and_no_halted_flow(
    engine: MemoryEngine, tmp_path: Path
) -> None:
    held = Held(engine)
    async with anyio.create_task_group() as group:
        async with housed(engine, tmp_path, held, shutdown_timeout=0.05) as house:
            first = await house.flow("flow", "run")

            async def back_up() -> None:
                error = await house.refused("backup_container", container_id=first, path="one.tar")
                assert "shut" in error.message

            group.start_soon(back_up)
            await held.reached.wait()
    (box,) = engine.boxes["default"].values()
    assert box.seen.state == "running"
    assert house.files() == []


async def test_a_manager_that_closes_leaves_no_half_restored_container(
    engine: MemoryEngine, tmp_path: Path
) -> None:
    async with housed(engine, tmp_path) as house:
        first = await house.flow()
        await house.ask("backup_container", container_id=first, path="one.tar")
        await house.ask("delete_container", container_id=first)
    held = Held(engine)
    async with anyio.create_task_group() as group:
        async with housed(engine, tmp_path, held, shutdown_timeout=0.05) as house:

            async def restore() -> None:
                error = await house.refused("restore_container", path="one.tar")
                assert "shut" in error.message

            group.start_soon(restore)
            await held.reached.wait()
            assert len(engine.boxes["default"]) == 1
    assert engine.boxes["default"] == {}


async def test_the_folder_for_backups_is_no_volume(engine: MemoryEngine, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    settings = {"backup_dir": str(kept), "volume_roots": (tmp_path,)}
    async with housed(engine, tmp_path / "state", **settings) as house:
        error = await house.refused(
            "create_container", image="memory", volumes={str(kept): "/data"}
        )
        assert error.error_type == "validation_error"
        first = await house.flow()
        told = await house.ask("backup_container", container_id=first, path="one.tar")
        assert told["path"] == str(kept / "one.tar")


async def test_a_later_life_lets_a_flow_go_on_that_a_backup_had_halted(
    engine: MemoryEngine, tmp_path: Path
) -> None:
    held = Held(engine)
    engine.faults["thaw"] = EngineError("the manager is dead")
    async with anyio.create_task_group() as group:
        async with housed(engine, tmp_path, held, shutdown_timeout=0.05) as house:
            first = await house.flow("flow", "run")
            group.start_soon(_ignored, house, first)
            await held.reached.wait()
    (box,) = engine.boxes["default"].values()
    assert box.seen.state == "paused"
    (tmp_path / "backups").mkdir(exist_ok=True)
    engine.faults.clear()
    async with housed(engine, tmp_path) as again:
        with anyio.fail_after(PATIENCE):
            while await again.status(first) != "running":
                await anyio.sleep(0.02)
        await again.ask("backup_container", container_id=first, path="one.tar")
        assert again.files() == ["one.tar"]


async def _ignored(house: House, container_id: str) -> None:
    await house.refused("backup_container", container_id=container_id, path="one.tar")


async def test_a_crash_during_a_backup_is_judged_as_at_any_time(
    engine: MemoryEngine, tmp_path: Path
) -> None:
    held = Held(engine)
    async with housed(engine, tmp_path, held) as house, anyio.create_task_group() as group:
        first = await house.flow("flow", "run", restart={"policy": "never"})

        async def back_up() -> None:
            await house.ask("backup_container", container_id=first, path="one.tar", pause=False)

        group.start_soon(back_up)
        await held.reached.wait()
        (box,) = engine.boxes["default"].values()
        engine.kill(box, 9)
        with anyio.fail_after(PATIENCE):
            while await house.status(first) == "running":
                await anyio.sleep(0.01)
        held.go.set()
        with anyio.fail_after(PATIENCE):
            while house.files() != ["one.tar"]:
                await anyio.sleep(0.01)
        for _ in range(5):  # the comparisons that would start it
            await anyio.sleep(0.05)
        assert await house.status(first) == "exited"


async def test_a_missing_container_is_named(house: House) -> None:
    error = await house.refused("backup_container", container_id="absent", path="one.tar")
    assert isinstance(error, ContainerNotFound)


async def test_a_backend_without_the_ability_says_so(engine: MemoryEngine, tmp_path: Path) -> None:
    plain = _without_snapshots(engine)
    assert not isinstance(plain, Snapshots)
    async with housed(engine, tmp_path, plain) as house:
        first = await house.flow()
        for request, payload in (
            ("backup_container", {"container_id": first, "path": "one.tar"}),
            ("restore_container", {"path": "one.tar"}),
        ):
            error = await house.refused(request, **payload)
            assert error.error_type == "validation_error"
            assert "not supported by the memory backend" in error.message
        await house.ask("delete_container", container_id=first)


class _Without(ContainerBackend):
    """Passes everything on but what is no part of the contract."""

    isolated = False

    def __init__(self, inner: MemoryBackend) -> None:
        self._inner = inner


def _without_snapshots(engine: MemoryEngine) -> ContainerBackend:
    inner = MemoryBackend(engine, "default")
    names = ContainerBackend.__abstractmethods__
    body = {name: _passing(name) for name in names}
    kind = type("Without", (_Without,), body)
    made: ContainerBackend = kind(inner)
    return made


def _passing(name: str) -> Any:
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(self._inner, name)(*args, **kwargs)

    return call


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({"path": "../x"}, "path"),
        ({"path": "a\nb"}, "path"),
        ({"path": 7}, "path"),
        ({"path": "x", "exclude": "volumes"}, "exclude"),
        ({"path": "x", "exclude": ["volumes", "everything"]}, "exclude.0"),
        ({"path": "x", "pause": 1}, "pause"),
        ({"path": "x", "compress": True}, "compress"),
    ],
)
async def test_a_request_that_is_not_well_formed_is_named(
    house: House, payload: Any, field: str
) -> None:
    first = await house.flow()
    error = await house.refused("backup_container", container_id=first, **payload)
    assert isinstance(error, InvalidRequest)
    assert error.faults[0].field == field
    assert house.files() == []
