"""An archive gets a container no further than a client's request would."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, frozen

from flow_manager_core.contracts import PartSink, PartSource
from flow_manager_core.errors import EngineError, InvalidRequest, VolumeRefused
from flow_manager_core.models import (
    Attachment,
    Container,
    ContainerSpec,
    CreatePlan,
    Fault,
    Mount,
    Part,
    PartKind,
    Snapshot,
)
from flow_manager_core.testing.memory_backend import SCRIPTED, MemoryEngine
from tests.core.archives import tar_of, write
from tests.core.test_backups import House, housed
from tests.core.test_vetting import Host, HostBackend

pytestmark = pytest.mark.anyio

STATE = tar_of(state=b"of some value")
VOLUME = Part("volume-1", PartKind.VOLUME, "/data")
#: What an archive and a create ask for, and what both are told.
TOO_MUCH: dict[str, tuple[dict[str, Any], str]] = {
    "a volume outside the roots": ({"volumes": {"{outside}": "/data"}}, "outside the folders"),
    "a link out of the roots": ({"volumes": {"{link}": "/data"}}, "outside the folders"),
    "the host's settings": ({"volumes": {"/etc": "/data"}}, "host keeps for itself"),
    "the engine's socket": ({"volumes": {"{engine.sock}": "/data"}}, "container engine keeps"),
    "the folder of the engine's socket": ({"volumes": {"{.}": "/data"}}, "holds or lies in"),
    "the folder for backups": ({"volumes": {"{backups}": "/data"}}, "which hold secrets"),
    "the kernel's folders": ({"volumes": {"{data}": "/proc/x"}}, "must not be mounted in /proc"),
    "the channel's folder": ({"volumes": {"{data}": "/run/flow"}}, "must not be mounted in /run"),
    "a label of the manager's": ({"labels": {"flow-manager.name": "x"}}, "not the client's"),
    "a label that engines believe": ({"labels": {"com.docker.x": "y"}}, "not the client's"),
    "the host's network": ({"network": "host"}, "must not be the host's network"),
}


class Walled(HostBackend):
    """Its containers have one volume, which is looked up anew for each transfer, as by engines."""

    def __init__(self, engine: MemoryEngine, host: Host, socket: Path) -> None:
        super().__init__(engine, "default", host)
        self.socket = socket
        self.during_create: Callable[[], None] = lambda: None

    async def kept(self) -> Sequence[Path]:
        return [self.socket]

    async def create(self, plan: CreatePlan) -> Container:
        made = await super().create(plan)
        self.during_create()
        return made

    async def describe(self, container_id: str, attachment: Attachment) -> Snapshot:
        found = await super().describe(container_id, attachment)
        return evolve(found, parts=(*found.parts, VOLUME))

    async def save(self, container_id: str, part: Part, sink: PartSink) -> None:
        if part != VOLUME:
            await super().save(container_id, part, sink)
            return
        (mount,) = (await self.inspect(container_id)).mounts
        sink.write(tar_of(found=(Path(mount.source) / "found").read_bytes()))

    async def occupied(self, container_id: str, part: Part) -> bool:
        return False

    async def fill(self, container_id: str, part: Part, source: PartSource) -> None:
        if part != VOLUME:
            await super().fill(container_id, part, source)
            return
        (mount,) = (await self.inspect(container_id)).mounts
        (Path(mount.source) / "found").write_bytes(source.read())


@frozen
class Walls:
    """A manager with such an engine, and folders on either side of the roots."""

    house: House
    backend: Walled
    root: Path

    def path(self, name: str) -> str:
        return str(self.root.parent / name if name == "outside" else self.root / name)

    def content(self, name: str) -> str:
        return Path(self.path(name), "found").read_text()

    def named(self, value: Any) -> Any:
        """Put paths in the place of their names."""
        if isinstance(value, dict):
            return {self.named(key): self.named(item) for key, item in value.items()}
        return self.path(value[1:-1]) if value.startswith("{") else value

    async def both_refuse(self, asked: Mapping[str, Any]) -> list[Fault]:
        """Ask for it in a create and in an archive: both must say the same, and make nothing."""
        payload = {"image": "memory", "name": "flow", "command": ["count"], **asked}
        archive = self.house.backups / "one.tar"
        write(archive, {"filesystem": STATE}, changes={"container": payload})
        created = await self.house.refused("create_container", **payload)
        restored = await self.house.refused("restore_container", path="one.tar")
        assert isinstance(created, InvalidRequest)
        assert isinstance(restored, InvalidRequest)
        assert await self.house.names() == []
        assert self.house.engine._made == 0
        faults = [evolve(f, field=f.field.removeprefix("container.")) for f in restored.faults]
        assert faults == list(created.faults)
        return faults

    async def saved(self) -> None:
        """Have a backup of a container with a volume; the container is gone."""
        payload = {"image": "memory", "name": "flow", "command": ["run"]}
        volumes = {self.path("data"): "/data"}
        await self.house.ask("create_container", volumes=volumes, **payload)
        await self.house.ask("backup_container", container_id="flow", path="one.tar")
        await self.house.ask("delete_container", container_id="flow")

    def lead_elsewhere(self) -> None:
        """What a hostile neighbour does who can write to the folder above."""
        (self.root / "data").rename(self.root / "was")
        (self.root / "data").symlink_to(self.path("outside"))


@pytest.fixture
async def walls(tmp_path: Path) -> AsyncIterator[Walls]:
    root = tmp_path / "root"
    for folder in (root / "data", tmp_path / "outside", root / "backups"):
        folder.mkdir(parents=True)
        (folder / "found").write_text(f"in {folder.name}")
    (root / "engine.sock").touch()
    (root / "link").symlink_to(tmp_path / "outside")
    settings = {"backup_dir": str(root / "backups"), "volume_roots": (root, Path("/etc"))}
    async with MemoryEngine(SCRIPTED).opened() as engine:
        backend = Walled(engine, Host(), root / "engine.sock")
        async with housed(engine, tmp_path / "state", backend, **settings) as house:
            yield Walls(evolve(house, backups=root / "backups"), backend, root)


@pytest.mark.parametrize("what", TOO_MUCH)
async def test_a_manifest_is_refused_what_a_client_is_refused(walls: Walls, what: str) -> None:
    asked, told = TOO_MUCH[what]
    faults = await walls.both_refuse(walls.named(asked))
    assert [told in fault.message for fault in faults] == [True]


async def test_a_volume_may_not_be_taken_to_where_no_volume_may_be(walls: Walls) -> None:
    await walls.saved()
    for place in ("outside", "link", "engine.sock", "backups"):
        volumes = {walls.path("data"): walls.path(place)}
        error = await walls.house.refused("restore_container", path="one.tar", volumes=volumes)
        assert isinstance(error, InvalidRequest)
    assert await walls.house.names() == []


async def test_a_restored_volume_is_mounted_from_its_real_path(walls: Walls) -> None:
    await walls.saved()
    (walls.root / "by-name").symlink_to(walls.root / "data")
    volumes = {walls.path("data"): walls.path("by-name")}
    await walls.house.ask("restore_container", path="one.tar", volumes=volumes)
    (box,) = walls.house.engine.boxes["default"].values()
    assert [mount.source for mount in box.plan.spec.volumes] == [walls.path("data")]


async def test_a_restore_of_which_the_engine_makes_something_else_leaves_nothing(
    walls: Walls,
) -> None:
    await walls.saved()
    walls.backend.host.made_otherwise.append(Mount("/etc", "/data"))
    error = await walls.house.refused("restore_container", path="one.tar")
    assert isinstance(error, EngineError)
    assert "did not mount as it was asked to: /data" in error.message
    assert await walls.house.names() == []
    assert walls.house.engine.boxes["default"] == {}


async def test_a_restored_container_is_looked_at_after_its_start(walls: Walls) -> None:
    await walls.saved()
    walls.backend.host.shown["/data"] = "/etc"
    error = await walls.house.refused("restore_container", path="one.tar", start=True)
    assert isinstance(error, VolumeRefused)
    assert await walls.house.status("flow") == "stopped"


async def test_nothing_is_restored_to_where_a_volume_leads_meanwhile(walls: Walls) -> None:
    await walls.saved()
    walls.backend.during_create = walls.lead_elsewhere
    error = await walls.house.refused("restore_container", path="one.tar")
    assert isinstance(error, VolumeRefused)
    assert walls.content("outside") == "in outside"
    assert walls.house.engine.boxes["default"] == {}


async def test_nothing_is_saved_from_where_a_volume_leads_meanwhile(walls: Walls) -> None:
    await walls.saved()
    await walls.house.ask("restore_container", path="one.tar")
    walls.lead_elsewhere()
    error = await walls.house.refused("backup_container", container_id="flow", path="two.tar")
    assert isinstance(error, VolumeRefused)
    assert not (walls.house.backups / "two.tar").exists()


async def test_code_of_an_archive_meets_the_limits_of_other_code(walls: Walls) -> None:
    asked: list[ContainerSpec] = []

    def unsupported(spec: ContainerSpec) -> Sequence[Fault]:
        asked.append(spec)
        return [Fault("code_path", "not here")] if spec.code_path is not None else []

    walls.backend.unsupported = unsupported  # type: ignore[method-assign]
    changes = {"has_code": True}
    write(walls.house.backups / "one.tar", {"filesystem": STATE}, changes=changes)
    error = await walls.house.refused("restore_container", path="one.tar")
    assert isinstance(error, InvalidRequest)
    assert [spec.code_path for spec in asked] == ["one.tar"]
