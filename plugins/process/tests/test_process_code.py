"""Code folders of the process backend: nothing gets out of them, nothing is lost on the way."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flow_manager_core.contracts import CodeStore
from flow_manager_core.errors import EngineError, InvalidRequest

pytestmark = pytest.mark.anyio


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, target, 0o644
    return info


HOSTILE: dict[str, list[tarfile.TarInfo]] = {
    "absolute": [member("/evil")],
    "climbing": [member("../evil")],
    "climbing inside": [member("a/../../evil")],
    "link to the outside": [member("a", tarfile.SYMTYPE, "..")],
    "absolute link": [member("a", tarfile.SYMTYPE, "/etc")],
    "hard link to the outside": [member("a", tarfile.LNKTYPE, "../container.json")],
    "device": [member("a", tarfile.CHRTYPE)],
    "pipe": [member("a", tarfile.FIFOTYPE)],
    "twice": [member("a"), member("a")],
    "file as a folder": [member("a"), member("a/b")],
}


@pytest.fixture
def packed(tmp_path: Path) -> Callable[..., Path]:
    def pack(*members: tarfile.TarInfo, **files: str) -> Path:
        archive = tmp_path / "in.tar"
        with tarfile.open(archive, "w") as tar:
            for name, content in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content.encode()))
            for info in members:
                tar.addfile(info)
        return archive

    return pack


@pytest.fixture
def store(process_backend: Any) -> CodeStore:
    assert isinstance(process_backend, CodeStore)
    return process_backend


def everything(state_dir: Path) -> list[str]:
    return sorted(str(p.relative_to(state_dir)) for p in state_dir.rglob("*"))


def code_of(state_dir: Path, made: str) -> Path:
    return state_dir / "process" / "default" / made / "code"


@pytest.mark.parametrize("kind", HOSTILE)
async def test_a_hostile_archive_changes_nothing(
    flows: Any, store: CodeStore, packed: Any, state_dir: Path, kind: str
) -> None:
    made = await flows.create("-c", "pass")
    await store.write_code(made, packed(old="old"))
    before = everything(state_dir)
    with pytest.raises((EngineError, InvalidRequest)):
        await store.write_code(made, packed(*HOSTILE[kind], new="new"))
    assert everything(state_dir) == before
    assert (code_of(state_dir, made) / "old").read_text() == "old"


@pytest.mark.parametrize("content", [b"no archive at all" * 100, b""])
async def test_what_is_no_archive_changes_nothing(
    flows: Any, store: CodeStore, packed: Any, state_dir: Path, content: bytes, tmp_path: Path
) -> None:
    made = await flows.create("-c", "pass")
    await store.write_code(made, packed(old="old"))
    (tmp_path / "bad.tar").write_bytes(content)
    with pytest.raises((EngineError, InvalidRequest)):
        await store.write_code(made, tmp_path / "bad.tar")
    assert (code_of(state_dir, made) / "old").read_text() == "old"


async def test_nothing_is_written_through_a_link(
    flows: Any, store: CodeStore, packed: Any, state_dir: Path
) -> None:
    made = await flows.create("-c", "pass")
    with pytest.raises((EngineError, InvalidRequest)):
        await store.write_code(
            made, packed(member("d", tarfile.DIRTYPE), member("d", tarfile.SYMTYPE, "e"))
        )
    await store.write_code(
        made,
        packed(member("here", tarfile.SYMTYPE, "real"), member("real", tarfile.DIRTYPE), keep="k"),
    )
    code = code_of(state_dir, made)
    assert os.readlink(code / "here") == "real"
    assert (code / "keep").read_text() == "k"


async def test_links_and_modes_make_the_round_trip(
    flows: Any, store: CodeStore, state_dir: Path, tmp_path: Path
) -> None:
    script, link = member("bin/run"), member("bin/same", tarfile.SYMTYPE, "../bin/run")
    script.mode = 0o755
    archive = tmp_path / "code.tar"
    with tarfile.open(archive, "w") as tar:
        tar.addfile(link)
        tar.addfile(script)
    made = await flows.create("-c", "pass")
    await store.write_code(made, archive)
    await store.read_code(made, tmp_path / "out.tar")
    await store.write_code(made, tmp_path / "out.tar")
    code = code_of(state_dir, made)
    assert (code / "bin" / "run").stat().st_mode & 0o777 == 0o755
    assert os.readlink(code / "bin" / "same") == "../bin/run"


async def test_reading_stores_links_as_links_and_leaves_out_what_is_no_file(
    flows: Any, store: CodeStore, state_dir: Path, tmp_path: Path
) -> None:
    made = await flows.create("-c", "pass")
    code = code_of(state_dir, made)
    (code / "out").symlink_to("/etc")
    os.mkfifo(code / "pipe")
    await store.read_code(made, tmp_path / "out.tar")
    with tarfile.open(tmp_path / "out.tar") as tar:
        assert [(m.name, m.issym()) for m in tar] == [("out", True)]


async def test_code_of_a_running_flow_is_not_replaced(
    flows: Any, store: CodeStore, packed: Any
) -> None:
    made = await flows.start("import time; time.sleep(600)")
    with pytest.raises(EngineError, match="running"):
        await store.write_code(made, packed(new="new"))


async def test_removing_does_not_follow_links(flows: Any, state_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    made = await flows.create("-c", "pass")
    (code_of(state_dir, made) / "link").symlink_to(tmp_path / "precious")
    await flows.backend.remove(made)
    assert (tmp_path / "precious" / "file").exists()
    assert everything(state_dir) == ["process", "process/default"]


@pytest.mark.parametrize("present", ["new", "old", "new and old"])
async def test_a_replacement_cut_short_is_mended(
    open_backend: Any, flows_on: Any, state_dir: Path, present: str
) -> None:
    async with open_backend() as backend:
        made = await flows_on(backend).create("-c", "pass")
    code = code_of(state_dir, made)
    (code / "file").write_text("old")
    if "new" in present:
        (code.parent / ".code.new").mkdir()
    if "old" in present:
        code.rename(code.parent / ".code.old")
    async with open_backend():
        assert (code / "file").read_text() == "old"
    assert sorted(p.name for p in code.parent.iterdir()) == ["code", "container.json"]
