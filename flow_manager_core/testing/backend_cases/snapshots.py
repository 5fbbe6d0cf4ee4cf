"""Cases: what a container has goes out and comes back. Skipped without `Snapshots`."""

from __future__ import annotations

import io
import tarfile

import pytest
from attrs import define, evolve, field

from flow_manager_core.contracts import ContainerBackend, Snapshots
from flow_manager_core.errors import ContainerNotFound, EngineError, SystemFault
from flow_manager_core.models import Container, CreatePlan, Part, PartKind, Snapshot
from flow_manager_core.terms import PREFIX, client_labels
from flow_manager_core.testing.backend_cases.programs import BackendPrograms

ABSENT = "f" * 64
NOWHERE = Part("volume-1", PartKind.VOLUME, "/no/such/place")


class Shelf(io.BytesIO):
    """A `PartSink` and a `PartSource`."""

    size: int = 0

    def back(self) -> Shelf:
        """The same, to be read from its beginning."""
        again = Shelf(self.getvalue())
        again.size = len(self.getvalue())
        return again


class FullDisk:
    """A `PartSink` that takes nothing."""

    def write(self, data: bytes, /) -> int:
        raise SystemFault("the disk is full")


@define
class Kept:
    """A container's snapshot, with the bytes of its parts."""

    snapshot: Snapshot
    parts: dict[str, Shelf] = field(factory=dict)


class SnapshotCases(BackendPrograms):
    """`Snapshots`."""

    @pytest.fixture
    def snapshots(self, backend: ContainerBackend) -> Snapshots:
        if not isinstance(backend, Snapshots):
            pytest.skip("this backend makes no backups")
        return backend

    async def kept(self, snapshots: Snapshots, container_id: str, plan: CreatePlan) -> Kept:
        """Save all that a container has."""
        kept = Kept(await snapshots.describe(container_id, plan.attachment))
        for part in kept.snapshot.parts:
            kept.parts[part.name] = Shelf()
            await snapshots.save(container_id, part, kept.parts[part.name])
        return kept

    async def again(
        self, backend: ContainerBackend, snapshots: Snapshots, kept: Kept, plan: CreatePlan
    ) -> Container:
        """Make a container of it, with the name and labels of a plan."""
        key, image, laid = plan.spec.name, "", ""
        for part in kept.snapshot.parts:
            if part.kind is PartKind.FILESYSTEM:
                source = kept.parts[part.name].back()
                image, laid = await snapshots.ground(key, kept.snapshot, source), part.name
        spec = evolve(kept.snapshot.spec, name=plan.spec.name)
        made = await backend.create(evolve(plan, spec=evolve(spec, image=image or spec.image)))
        for part in kept.snapshot.parts:
            if not (image and part.name == laid):
                assert not await snapshots.occupied(made.id, part)
                await snapshots.fill(made.id, part, kept.parts[part.name].back())
        return made

    async def test_a_container_is_described_as_it_was_asked_for(
        self, backend: ContainerBackend, snapshots: Snapshots
    ) -> None:
        plan = self.tells(
            "a",
            "MINE",
            environment={"MINE": "a=b c"},
            labels={"own": "1"},
            attachment={"FLOW_SOCKET": "/somewhere"},
        )
        made = await backend.create(plan)
        told = (await snapshots.describe(made.id, plan.attachment)).spec
        own = client_labels(told.labels)
        assert own == {"own": "1"}
        assert all(key in own or key.startswith(PREFIX) for key in told.labels)
        assert evolve(told, labels={}) == evolve(plan.spec, labels={}, code_path=None)

    async def test_a_container_made_of_a_snapshot_goes_on_where_the_first_was(
        self, backend: ContainerBackend, snapshots: Snapshots
    ) -> None:
        plan = self.counts("a")
        first = await self.started(backend, plan)
        assert await self.output(backend, first) == ["1"]
        kept = await self.kept(snapshots, first, plan)
        await backend.remove(first)
        other = self.counts("b")
        second = await self.again(backend, snapshots, kept, other)
        await backend.start(second.id)
        assert await self.output(backend, second.id) == ["2"]
        await backend.remove(second.id)
        await snapshots.discard(other.spec.name)

    async def test_a_part_is_a_tar_whose_names_stay_below_its_folder(
        self, backend: ContainerBackend, snapshots: Snapshots
    ) -> None:
        plan = self.counts("a")
        made = await self.started(backend, plan)
        await self.ended(backend, made)
        kept = await self.kept(snapshots, made, plan)
        assert kept.parts
        for shelf in kept.parts.values():
            with tarfile.open(fileobj=shelf.back(), mode="r:") as tar:
                names = tar.getnames()
            assert names
            assert not [n for n in names if n.startswith("/") or ".." in n.split("/")]

    async def test_a_frozen_program_goes_on_when_it_is_thawed(
        self, backend: ContainerBackend, snapshots: Snapshots
    ) -> None:
        made = await self.running(backend, self.runs("a", stop_code=5))
        before = await backend.inspect(made)
        await snapshots.freeze(made)
        assert (await backend.inspect(made)).state.alive
        for _ in range(2):  # what is not frozen stays as it is
            await snapshots.thaw(made)
        assert await backend.inspect(made) == before
        await backend.stop(made, self.patience)
        assert (await backend.inspect(made)).exit_code == 5

    async def test_a_disk_that_refuses_ends_the_save_by_its_own_name(
        self, backend: ContainerBackend, snapshots: Snapshots
    ) -> None:
        plan = self.counts("a")
        made = await self.started(backend, plan)
        await self.ended(backend, made)
        (part, *_) = (await snapshots.describe(made, plan.attachment)).parts
        with pytest.raises(SystemFault, match="the disk is full"):
            await snapshots.save(made, part, FullDisk())

    async def test_a_place_that_the_container_has_not_is_named(
        self, backend: ContainerBackend, snapshots: Snapshots
    ) -> None:
        made = await backend.create(self.runs("a"))
        with pytest.raises(EngineError):
            await snapshots.save(made.id, NOWHERE, Shelf())
        with pytest.raises(EngineError):
            await snapshots.occupied(made.id, NOWHERE)
        with pytest.raises(EngineError):
            await snapshots.fill(made.id, NOWHERE, Shelf())

    async def test_a_snapshot_of_a_missing_container_is_named(self, snapshots: Snapshots) -> None:
        for attempt in (snapshots.freeze, snapshots.thaw):
            with pytest.raises(ContainerNotFound):
                await attempt(ABSENT)
        with pytest.raises(ContainerNotFound):
            await snapshots.describe(ABSENT, self.runs("a").attachment)
        with pytest.raises(ContainerNotFound):
            await snapshots.save(ABSENT, NOWHERE, Shelf())

    async def test_discarding_what_was_never_made_does_nothing(self, snapshots: Snapshots) -> None:
        await snapshots.discard("no-such-key")
