"""The code folder of a container, on a real engine and in archives of bad will."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from flow_manager_core.errors import EngineError, EngineUnavailable
from flow_manager_core.models import Mount
from flow_manager_docker import DockerBackend, code_archive
from flow_manager_docker.code_archive import pack_for_engine, unpack_from_engine
from plugins.docker.tests.workshop import Workshop, clear
from tests.support.engine_proxy import EngineProxy
from tests.support.engine_relay import Fault

pytestmark = [pytest.mark.anyio, pytest.mark.docker]

LISTS = (
    "import os\n"
    "for top, dirs, files in os.walk('.'):\n"
    "    for f in sorted(files): print(os.path.join(top, f), os.stat(os.path.join(top, f)).st_uid)"
)


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.mode = kind, link, 0o4755
    return made


def pack(archive: Path, *members: tarfile.TarInfo, content: bytes = b"x") -> Path:
    with tarfile.open(archive, "w") as tar:
        for made in members:
            made.size = len(content) if made.isreg() else 0
            tar.addfile(made, io.BytesIO(content) if made.isreg() else None)
    return archive


def names(archive: Path) -> list[str]:
    with tarfile.open(archive) as tar:
        return sorted(tar.getnames())


async def test_code_replaces_the_folder_and_keeps_the_rest(
    backend: DockerBackend, shop: Workshop, tmp_path: Path
) -> None:
    plan = shop.script(
        "a",
        "import os; open('/srv/kept', 'a').write('k'); open('made', 'w'); print(os.listdir('.'))",
        code_path="/code",
        working_dir="/srv/deep/code",
    )
    made = await backend.create(plan)
    for file in ("old.py", "new.py"):
        await backend.write_code(made.id, pack(tmp_path / "in.tar", member(file)))
        await backend.start(made.id)
        await shop.ended(backend, made.id)
    lines = [e.line for e in await backend.logs(made.id, tail=None, since=None)]
    assert [sorted(eval(line)) for line in lines] == [["made", "old.py"], ["made", "new.py"]]
    await backend.read_code(made.id, tmp_path / "out.tar")
    assert names(tmp_path / "out.tar") == ["made", "new.py"]


async def test_an_engine_that_closes_is_not_believed_about_files(
    shop: Workshop, proxy: EngineProxy, tmp_path: Path
) -> None:
    code = pack(tmp_path / "in.tar", member("kept.py"))
    async with shop.open() as backend:
        made = await backend.create(shop.plan("a", code_path="/code", working_dir="/srv/code"))
        await backend.write_code(made.id, code)
        await backend.read_code(made.id, tmp_path / "out.tar")
        # It has unmounted the container already, and finds no folder in it.
        proxy.rule("GET .*/archive", Fault.FAIL, status=404)
        proxy.shut_door()
        with pytest.raises(EngineUnavailable):
            await backend.read_code(made.id, tmp_path / "none.tar")
        with pytest.raises(EngineUnavailable):
            await backend.write_code(made.id, code)
        proxy.restore()
        await clear(backend)


@pytest.mark.parametrize(("user", "owner"), [(None, "0"), ("7:8", "7"), ("9", "9")])
async def test_code_belongs_to_the_containers_user(
    backend: DockerBackend, shop: Workshop, tmp_path: Path, user: str | None, owner: str
) -> None:
    plan = shop.script("a", LISTS, code_path="/code", user=user)
    made = await backend.create(plan)
    await backend.write_code(made.id, pack(tmp_path / "in.tar", member("a.py")))
    await backend.start(made.id)
    await shop.ended(backend, made.id)
    (line,) = await backend.logs(made.id, tail=None, since=None)
    assert line.line == f"./a.py {owner}"


async def test_the_parents_of_the_folder_keep_their_owner_and_mode(
    backend: DockerBackend, shop: Workshop, tmp_path: Path
) -> None:
    code = "import os; print(oct(os.stat('/tmp').st_mode))"
    plan = shop.script("a", code, code_path="/code", working_dir="/tmp/code")
    before = await shop.output(backend, shop.script("b", code))
    made = await backend.create(plan)
    await backend.write_code(made.id, pack(tmp_path / "in.tar", member("a.py")))
    await backend.start(made.id)
    await shop.ended(backend, made.id)
    lines = [e.line for e in await backend.logs(made.id, tail=None, since=None)]
    assert lines == before


async def test_a_link_planted_at_the_code_folder_leads_nowhere(
    backend: DockerBackend, shop: Workshop, tmp_path: Path
) -> None:
    host = tmp_path / "host"
    host.mkdir()
    (host / "treasure").write_text("mine")
    plants = f"import os; os.rename('/w/code', '/w/old'); os.symlink({str(host)!r}, '/w/code')"
    plan = shop.script("a", plants, code_path="/code", working_dir="/w/code")
    made = await backend.create(plan)
    await backend.start(made.id)
    assert (await shop.ended(backend, made.id)).exit_code == 0
    await backend.read_code(made.id, tmp_path / "out.tar")
    assert names(tmp_path / "out.tar") == []
    await backend.write_code(made.id, pack(tmp_path / "in.tar", member("a.py")))
    await backend.read_code(made.id, tmp_path / "out.tar")
    assert names(tmp_path / "out.tar") == ["a.py"]
    assert [p.name for p in host.iterdir()] == ["treasure"]


async def test_what_a_program_left_in_its_folder_does_not_hinder_the_way_back(
    backend: DockerBackend, shop: Workshop, tmp_path: Path
) -> None:
    leaves = (
        "import os; os.mkfifo('pipe'); os.symlink('/etc/passwd', 'link'); open('f', 'w').write('x')"
        "; os.link('f', 'hard')"
    )
    made = await backend.create(shop.script("a", leaves, code_path="/code"))
    await backend.start(made.id)
    assert (await shop.ended(backend, made.id)).exit_code == 0
    await backend.read_code(made.id, tmp_path / "kept.tar")
    assert names(tmp_path / "kept.tar") == ["f", "hard", "link"]
    await backend.write_code(made.id, tmp_path / "kept.tar")
    await backend.read_code(made.id, tmp_path / "again.tar")
    assert names(tmp_path / "again.tar") == ["f", "hard", "link"]


async def test_a_container_without_code_says_so(
    backend: DockerBackend, shop: Workshop, tmp_path: Path
) -> None:
    made = await backend.create(shop.plan("a"))
    with pytest.raises(EngineError, match="code_path"):
        await backend.write_code(made.id, pack(tmp_path / "in.tar", member("a.py")))
    with pytest.raises(EngineError, match="code_path"):
        await backend.read_code(made.id, tmp_path / "out.tar")


async def test_code_is_never_written_over_a_volume(
    backend: DockerBackend, shop: Workshop, tmp_path: Path
) -> None:
    host = tmp_path / "host"
    host.mkdir()
    (host / "treasure").write_text("mine")
    plan = shop.plan("a", code_path="/code", working_dir="/w", volumes=(Mount(str(host), "/w/d"),))
    assert [f.field for f in backend.unsupported(plan.spec)] == ["volumes"]
    labelled = shop.plan(
        "b", volumes=(Mount(str(host), "/w/d"),), labels={"flow-manager.code-dir": "/w"}
    )
    made = await backend.create(labelled)
    with pytest.raises(EngineError, match="/w/d"):
        await backend.write_code(made.id, pack(tmp_path / "in.tar", member("a.py")))
    assert (host / "treasure").read_text() == "mine"


async def test_a_folder_over_the_limit_is_not_read(shop: Workshop, tmp_path: Path) -> None:
    async with shop.open(code_limit=1000) as backend:
        assert isinstance(backend, DockerBackend)
        made = await backend.create(shop.plan("a", code_path="/code"))
        try:
            archive = pack(tmp_path / "in.tar", member("a"), member("b"), content=b"x" * 600)
            await backend.write_code(made.id, archive)
            with pytest.raises(EngineError, match="more than 1000 bytes"):
                await backend.read_code(made.id, tmp_path / "out.tar")
        finally:
            await backend.remove(made.id)


@pytest.mark.parametrize(
    "bad",
    [
        member("../up"),
        member("a/../../up"),
        member("/abs"),
        member("pipe", tarfile.FIFOTYPE),
        member("disk", tarfile.BLKTYPE),
        member("hard", tarfile.LNKTYPE, "../../etc/passwd"),
    ],
    ids=lambda m: m.name,
)
async def test_an_archive_that_climbs_or_holds_devices_changes_nothing(
    backend: DockerBackend, shop: Workshop, tmp_path: Path, bad: tarfile.TarInfo
) -> None:
    made = await backend.create(shop.plan("a", code_path="/code"))
    await backend.write_code(made.id, pack(tmp_path / "in.tar", member("kept.py")))
    with pytest.raises(EngineError, match=bad.name.replace(".", r"\.")):
        await backend.write_code(made.id, pack(tmp_path / "bad.tar", member("new.py"), bad))
    await backend.read_code(made.id, tmp_path / "out.tar")
    assert names(tmp_path / "out.tar") == ["kept.py"]


async def test_a_file_that_is_no_archive_is_told(
    backend: DockerBackend, shop: Workshop, tmp_path: Path
) -> None:
    made = await backend.create(shop.plan("a", code_path="/code"))
    (tmp_path / "no.tar").write_bytes(b"garbage" * 1000)
    with pytest.raises(EngineError, match="archive cannot be read"):
        await backend.write_code(made.id, tmp_path / "no.tar")


async def test_no_member_brings_set_user_id_or_an_owner_along(tmp_path: Path) -> None:
    given = member("a")
    given.uid, given.pax_headers = 77, {"SCHILY.xattr.security.capability": "x"}
    target = io.BytesIO()
    pack_for_engine(pack(tmp_path / "in.tar", given), target, "/app", (1, 2))
    target.seek(0)
    with tarfile.open(fileobj=target) as tar:
        last = tar.getmembers()[-1]
    assert (last.name, last.mode, last.uid, last.gid) == ("app/a", 0o755, 1, 2)
    assert not last.pax_headers


async def test_a_folder_of_too_many_entries_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Empty ones count as well: a program can make as many as it likes."""
    monkeypatch.setattr(code_archive, "MOST_ENTRIES", 3)
    archive = pack(tmp_path / "in.tar", *(member(f"./{n}") for n in range(6)), content=b"")
    with pytest.raises(EngineError, match="more than 3 entries"):
        unpack_from_engine(io.BytesIO(archive.read_bytes()), tmp_path / "out.tar", 10**6)


async def test_the_engines_names_become_relative(tmp_path: Path) -> None:
    archive = pack(
        tmp_path / "in.tar",
        member(".", tarfile.DIRTYPE),
        member("./a"),
        member("./h", tarfile.LNKTYPE, "./a"),
    )
    unpack_from_engine(io.BytesIO(archive.read_bytes()), tmp_path / "out.tar", 100)
    with tarfile.open(tmp_path / "out.tar") as tar:
        assert [(m.name, m.linkname) for m in tar] == [("a", ""), ("h", "a")]
