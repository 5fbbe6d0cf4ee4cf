"""A run is looked at after its start: what it may not see of the host ends it, on any backend."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from attrs import evolve, field, frozen

from flow_manager_core import FlowManager, PluginHost, Settings
from flow_manager_core.contracts import ContainerBackend, HostPaths
from flow_manager_core.errors import EngineError, EngineUnavailable, FlowManagerError, VolumeRefused
from flow_manager_core.models import Container, CreatePlan, Mount
from flow_manager_core.providers import BackendProvider, ProviderContext
from flow_manager_core.testing.memory_backend import SCRIPTED, MemoryBackend, MemoryEngine
from flow_manager_core.testing.memory_transport import MemoryNetwork, memory_transport_provider

pytestmark = pytest.mark.anyio


@frozen
class Host:
    """What the engine shows of its containers, for tests to change."""

    asked: list[str] = field(factory=list)
    #: By target, the real path; left out: as it was asked for.
    shown: dict[str, str] = field(factory=dict)
    failures: list[FlowManagerError] = field(factory=list)
    made_otherwise: list[Mount] = field(factory=list)


class HostBackend(MemoryBackend, HostPaths):
    """A backend in memory whose containers claim to have the host's folders."""

    def __init__(self, engine: MemoryEngine, instance: str, host: Host) -> None:
        super().__init__(engine, instance)
        self.host = host

    async def create(self, plan: CreatePlan) -> Container:
        made = await super().create(plan)
        return self._with_mounts(made)

    async def inspect(self, container_id: str) -> Container:
        return self._with_mounts(await super().inspect(container_id))

    def _with_mounts(self, container: Container) -> Container:
        plan = self._box("inspect", container.id).plan
        volumes = (*plan.spec.volumes, *plan.attachment.mounts)
        return evolve(container, mounts=tuple(self.host.made_otherwise or volumes))

    async def kept(self) -> Sequence[Path]:
        self.host.asked.append("kept")
        return ()

    async def mounted(self, container_id: str) -> Sequence[tuple[str, Sequence[Path]]] | None:
        self.host.asked.append("mounted")
        if self.host.failures:
            raise self.host.failures.pop()
        seen = await self.inspect(container_id)
        shown = {mount.target: mount.source for mount in seen.mounts} | self.host.shown
        return [(target, [Path(path)] if path else []) for target, path in shown.items()]


@asynccontextmanager
async def manager(root: Path, host: Host) -> AsyncIterator[FlowManager]:
    async with MemoryEngine(SCRIPTED).opened() as engine:

        @asynccontextmanager
        async def factory(context: ProviderContext) -> AsyncIterator[ContainerBackend]:
            yield HostBackend(engine, context.core.instance, host)

        settings = Settings(
            volume_roots=(root,),
            state_dir=root / "state",
            journal="memory",
            reconcile_interval=0.05,
        )
        yield FlowManager(
            settings,
            host=PluginHost(installed=False),
            backend=BackendProvider(name="host", factory=factory),
            transport=memory_transport_provider(MemoryNetwork()),
        )


async def create(made: FlowManager, **payload: Any) -> str:
    ask = {"image": "memory", "command": ["run"], "name": "flow", **payload}
    return str((await made.execute("create_container", ask))["container_id"])


async def state(made: FlowManager, key: str) -> str:
    found = await made.execute("get_container_status", {"container_id": key})
    return str(found["state"])


async def start(made: FlowManager, key: str) -> None:
    await made.execute("start_container", {"container_id": key})


@pytest.mark.parametrize("shown", ["/etc", ""], ids=["elsewhere", "nameless"])
@pytest.mark.parametrize("target", ["/data", "/data/below"])
async def test_a_run_that_sees_what_it_may_not_is_ended(
    tmp_path: Path, target: str, shown: str
) -> None:
    host = Host()
    (tmp_path / "data").mkdir()
    async with manager(tmp_path, host) as entered, entered as made:
        key = await create(made, volumes={f"{tmp_path}/data": {"bind": "/data", "mode": "ro"}})
        await start(made, key)
        assert await state(made, key) == "running"
        await made.execute("stop_container", {"container_id": key})
        host.shown[target] = shown
        with pytest.raises(VolumeRefused, match=shown or "cannot name"):
            await start(made, key)
        assert await state(made, key) == "stopped"
        host.shown.clear()
        await start(made, key)
        assert await state(made, key) == "running"


async def test_a_container_without_volumes_is_started_without_a_question(tmp_path: Path) -> None:
    host = Host()
    async with manager(tmp_path, host) as entered, entered as made:
        await start(made, await create(made))
        assert host.asked == []


async def test_a_run_that_could_not_be_looked_at_is_looked_at_later(tmp_path: Path) -> None:
    host = Host(shown={"/data": "/etc"})
    host.failures.extend(EngineUnavailable("gone for a moment") for _ in range(2))
    async with manager(tmp_path, host) as entered, entered as made:
        (tmp_path / "data").mkdir()
        key = await create(made, volumes={f"{tmp_path}/data": "/data"})
        with pytest.raises((EngineUnavailable, VolumeRefused)):
            await start(made, key)
        with anyio.fail_after(10):
            while await state(made, key) != "stopped":
                await anyio.sleep(0.01)


async def test_an_engine_that_mounts_otherwise_than_asked_makes_no_container(
    tmp_path: Path,
) -> None:
    for other in (Mount("/etc", "/data"), Mount(f"{tmp_path}/data", "/data", read_only=True)):
        async with manager(tmp_path, Host(made_otherwise=[other])) as entered, entered as made:
            (tmp_path / "data").mkdir(exist_ok=True)
            with pytest.raises(EngineError, match="/data"):
                await create(made, volumes={f"{tmp_path}/data": "/data"})
            assert (await made.execute("list_containers", {}))["count"] == 0
