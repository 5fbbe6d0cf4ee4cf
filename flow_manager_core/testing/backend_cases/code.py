"""Cases: the code folder. Skipped for a backend that is no `CodeStore`."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from flow_manager_core.contracts import CodeStore, ContainerBackend
from flow_manager_core.errors import ContainerNotFound
from flow_manager_core.testing.backend_cases.programs import BackendPrograms

OLD = {
    "main.py": b"old",
    "lib/deep/a.py": b"a" * 70_000,
    "lib/stale.py": b"",
    "\u00fc b.txt": b"u",
}
NEW = {"main.py": b"new", "lib/deep/a.py": b"b", "other/c.bin": bytes(range(256))}


def pack(files: dict[str, bytes], archive: Path) -> Path:
    """Write files, and the folders above them, into an uncompressed tar."""
    folders = {str(p) for name in files for p in Path(name).parents if str(p) != "."}
    with tarfile.open(archive, "w") as tar:
        for name in sorted(folders):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(folder)
        for name, content in files.items():
            file = tarfile.TarInfo(name)
            file.size, file.mode = len(content), 0o644
            tar.addfile(file, io.BytesIO(content))
    return archive


def unpack(archive: Path) -> dict[str, bytes]:
    """Read the files of a tar, their names without a leading ``./``."""
    found = {}
    with tarfile.open(archive, "r:") as tar:
        for member in tar:
            content = tar.extractfile(member)
            if content is not None:
                found[member.name.removeprefix("./")] = content.read()
    return found


class CodeCases(BackendPrograms):
    """`CodeStore`."""

    @pytest.fixture
    def store(self, backend: ContainerBackend) -> CodeStore:
        if not isinstance(backend, CodeStore):
            pytest.skip("this backend keeps no code")
        return backend

    async def test_code_is_read_as_it_was_written(
        self, backend: ContainerBackend, store: CodeStore, tmp_path: Path
    ) -> None:
        made = await backend.create(self.shows("a", "main.py"))
        await store.write_code(made.id, pack(OLD, tmp_path / "old.tar"))
        await store.read_code(made.id, tmp_path / "read.tar")
        assert unpack(tmp_path / "read.tar") == OLD

    async def test_writing_replaces_the_whole_folder(
        self, backend: ContainerBackend, store: CodeStore, tmp_path: Path
    ) -> None:
        made = await backend.create(self.shows("a", "main.py"))
        for files in (OLD, NEW):
            await store.write_code(made.id, pack(files, tmp_path / "in.tar"))
        await store.read_code(made.id, tmp_path / "read.tar")
        assert unpack(tmp_path / "read.tar") == NEW

    async def test_each_run_sees_the_code_of_its_time(
        self, backend: ContainerBackend, store: CodeStore, tmp_path: Path
    ) -> None:
        made = await backend.create(self.shows("a", "main.py"))
        for number, files in enumerate((OLD, NEW), start=1):
            await store.write_code(made.id, pack(files, tmp_path / "in.tar"))
            await backend.start(made.id)
            lines = await self.output(backend, made.id)
            assert lines == ["old", "new"][:number]

    async def test_what_was_read_can_be_written_back(
        self, backend: ContainerBackend, store: CodeStore, tmp_path: Path
    ) -> None:
        made = await backend.create(self.shows("a", "main.py"))
        await store.write_code(made.id, pack(OLD, tmp_path / "old.tar"))
        await store.read_code(made.id, tmp_path / "kept.tar")
        await store.write_code(made.id, pack(NEW, tmp_path / "new.tar"))
        await store.write_code(made.id, tmp_path / "kept.tar")
        await store.read_code(made.id, tmp_path / "read.tar")
        assert unpack(tmp_path / "read.tar") == OLD

    async def test_an_empty_archive_empties_the_folder(
        self, backend: ContainerBackend, store: CodeStore, tmp_path: Path
    ) -> None:
        made = await backend.create(self.shows("a", "main.py"))
        for files in (OLD, {}):
            await store.write_code(made.id, pack(files, tmp_path / "in.tar"))
        await store.read_code(made.id, tmp_path / "read.tar")
        assert unpack(tmp_path / "read.tar") == {}

    async def test_new_code_leaves_the_containers_other_files_alone(
        self, backend: ContainerBackend, store: CodeStore, tmp_path: Path
    ) -> None:
        made = await backend.create(self.remembers("a"))
        await store.write_code(made.id, pack(OLD, tmp_path / "old.tar"))
        await backend.start(made.id)
        assert await self.output(backend, made.id) == ["new"]
        await store.write_code(made.id, pack(NEW, tmp_path / "new.tar"))
        await backend.start(made.id)
        assert await self.output(backend, made.id) == ["new", "kept"]

    async def test_code_of_a_missing_container_is_named(
        self, store: CodeStore, tmp_path: Path
    ) -> None:
        with pytest.raises(ContainerNotFound):
            await store.write_code("f" * 64, pack(OLD, tmp_path / "old.tar"))
        with pytest.raises(ContainerNotFound):
            await store.read_code("f" * 64, tmp_path / "read.tar")
