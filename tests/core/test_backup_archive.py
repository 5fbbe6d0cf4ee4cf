"""The archive of a backup: what is whole is read, and nothing else is."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import pytest

from flow_manager_core.backups.contents import check_part
from flow_manager_core.backups.gauge import Gauge, TransferStopped
from flow_manager_core.backups.layout import HEAD, MANIFEST, SUMS, dump
from flow_manager_core.backups.manifest import Manifest
from flow_manager_core.backups.reading import Window
from flow_manager_core.backups.writing import ArchiveWriter
from flow_manager_core.errors import InvalidRequest, SystemFault
from tests.core.archives import LIMIT, descriptor_of, entry, manifest_of, tar_of, verify, write

STATE = tar_of(state=b"of some value " * 90, other=b"")


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    return write(tmp_path / "whole.tar", {"filesystem": STATE, "volume-1": tar_of(a=b"1")})


def refusal(path: Path, **limit: int) -> str:
    with pytest.raises(InvalidRequest) as caught:
        verify(path, **limit)
    (fault,) = caught.value.faults
    assert fault.field == "path"
    return fault.message


def test_what_was_written_is_read(whole: Path) -> None:
    found = verify(whole)
    assert {name: part.entries for name, part in found.parts.items()} == {
        "filesystem": 2,
        "volume-1": 1,
    }
    assert found.parts["filesystem"].sha256 == hashlib.sha256(STATE).hexdigest()
    assert found.size == whole.stat().st_size
    with descriptor_of(whole) as descriptor:
        part = found.parts["filesystem"]
        assert Window(descriptor, part.start, part.size, Gauge()).read() == STATE


def test_an_archive_can_be_read_with_tar_and_sha256sum_alone(whole: Path, tmp_path: Path) -> None:
    with tarfile.open(whole) as tar:
        names = tar.getnames()
    assert names == [HEAD, "parts/filesystem.tar", "parts/volume-1.tar", MANIFEST, SUMS]
    subprocess.run(["tar", "-xf", str(whole)], cwd=tmp_path, check=True)
    subprocess.run(["sha256sum", "--status", "--strict", "-c", SUMS], cwd=tmp_path, check=True)
    assert (tmp_path / "parts/filesystem.tar").read_bytes() == STATE


def test_one_changed_byte_anywhere_is_noticed(whole: Path) -> None:
    data = whole.read_bytes()
    # A share of all bytes, and more of those of the first header and of the texts at the end.
    places = {*range(0, len(data), 97), *range(0, 600, 7), *range(len(data) - 3000, len(data), 11)}
    with whole.open("r+b", buffering=0) as file:
        for place in sorted(places):
            os.pwrite(file.fileno(), bytes([data[place] ^ 0x20]), place)
            with pytest.raises(InvalidRequest):
                verify(whole)
            os.pwrite(file.fileno(), data[place : place + 1], place)
    assert verify(whole).parts


def test_an_archive_that_was_cut_off_anywhere_is_noticed(whole: Path, tmp_path: Path) -> None:
    data = whole.read_bytes()
    broken = tmp_path / "broken.tar"
    for size in (*range(0, len(data), 512), 1, 511, len(data) - 1):
        broken.write_bytes(data[:size])
        told = refusal(broken)
        assert "cut off" in told or "no backup" in told, (size, told)


def test_something_after_the_end_is_noticed(whole: Path) -> None:
    with whole.open("ab") as file:
        file.write(bytes(512))
    assert "after the archive's end" in refusal(whole)


def test_what_is_no_backup_is_named(tmp_path: Path) -> None:
    path = tmp_path / "other"
    for content in (b"", b"\0" * 2048, b"flow-manager", b"\x1f\x8b" + b"x" * 600, tar_of(a=b"1")):
        path.write_bytes(content)
        assert refusal(path) == "is no backup of Flow Manager"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(HEAD, "{}")
    assert refusal(path) == "is no backup of Flow Manager"


def test_a_foreign_tar_with_our_first_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.tar"
    with tarfile.open(path, "w") as tar:
        tar.addfile(entry(HEAD, size=13, mode=0o644), io.BytesIO(b'{"format": 1}'))
    assert "header" in refusal(path)


@pytest.mark.parametrize("version", [2, 99, 0, "1", None, True])
def test_another_format_is_named_with_what_to_do(tmp_path: Path, version: Any) -> None:
    told = refusal(write(tmp_path / "new.tar", {}, head={"format": version}))
    assert repr(version) in told
    assert "the version that made it" in told


def test_an_archive_over_the_limit_is_refused_before_it_is_read(whole: Path) -> None:
    assert "backup_limit" in refusal(whole, limit=whole.stat().st_size - 1)


@pytest.mark.parametrize(
    ("part", "told"),
    [
        (tar_of(entry("../climbs")), "leads out"),
        (tar_of(entry("a/../../climbs")), "leads out"),
        (tar_of(entry("/absolute")), "leads out"),
        (tar_of(entry("link", tarfile.LNKTYPE, linkname="../../etc/shadow")), "leads out"),
        (tar_of(entry("sda", tarfile.BLKTYPE, devmajor=8)), "device"),
        (tar_of(entry("mem", tarfile.CHRTYPE, devmajor=1)), "device"),
        (tar_of(entry("odd", b"Z")), "unknown kind"),
        (tar_of(entry("sparse", tarfile.GNUTYPE_SPARSE)), "unknown kind"),
        (tar_of(entry("bomb", size=2**50)), "ends before its end"),
        (tar_of(entry("x", tarfile.XHDTYPE, size=2**30)), "too many words"),
        (b"no tar at all" * 100, "cannot be read"),
        (b"", "cannot be read"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_part_that_holds_what_no_backup_holds_is_named(
    tmp_path: Path, part: bytes, told: str
) -> None:
    said = refusal(write(tmp_path / "bad.tar", {"volume-1": part}))
    assert "the part volume-1" in said
    assert told in said


def test_an_images_own_devices_may_be_in_its_file_system_alone(tmp_path: Path) -> None:
    null = tar_of(entry("dev/null", tarfile.CHRTYPE, devmajor=1, devminor=3))
    assert verify(write(tmp_path / "image.tar", {"filesystem": null})).parts
    assert "device" in refusal(write(tmp_path / "volume.tar", {"volume-1": null}))
    climbs = tar_of(entry("dev/../sda", tarfile.BLKTYPE, devmajor=8))
    assert "device" in refusal(write(tmp_path / "climbs.tar", {"filesystem": climbs}))


def test_links_that_a_program_made_may_lead_anywhere(tmp_path: Path) -> None:
    links = tar_of(
        entry("python", tarfile.SYMTYPE, linkname="/usr/bin/python3"),
        entry("up", tarfile.SYMTYPE, linkname="../../.."),
    )
    assert verify(write(tmp_path / "links.tar", {"volume-1": links})).parts["volume-1"].entries == 2


@pytest.mark.parametrize(
    "change",
    [
        {"backend": 1},
        {"made": "yesterday"},
        {"container": []},
        {"parts": []},
        {"parts": [{}]},
        {"notes": None},
        {"left_out": [1]},
    ],
    ids=str,
)
def test_a_manifest_that_does_not_fit_is_refused(tmp_path: Path, change: Any) -> None:
    archive = verify(write(tmp_path / "odd.tar", {"filesystem": STATE}, changes=change))
    with pytest.raises(InvalidRequest, match="manifest"):
        Manifest.read(archive)


@pytest.mark.parametrize(("key", "value"), [("size", 1), ("sha256", "0" * 64), ("name", "../x")])
def test_a_manifest_that_lies_about_a_part_is_refused(tmp_path: Path, key: str, value: Any) -> None:
    true = verify(write(tmp_path / "true.tar", {"filesystem": STATE})).manifest
    true["parts"][0][key] = value
    archive = verify(write(tmp_path / "lies.tar", {"filesystem": STATE}, manifest=true))
    with pytest.raises(InvalidRequest, match="manifest"):
        Manifest.read(archive)


@pytest.mark.parametrize("text", [b"", b"{", b"[" * 100_000, b"\xff"])
def test_a_manifest_that_is_no_json_is_refused(tmp_path: Path, text: bytes) -> None:
    assert "manifest.json" in refusal(write(tmp_path / "odd.tar", {}, manifest=text))


def test_a_manifest_may_ask_for_nothing_that_a_client_may_not(tmp_path: Path) -> None:
    asked = {
        "image": "memory",
        "name": "../climbs",
        "environment": {"FLOW_SOCKET": "/elsewhere"},
        "privileged": True,
        "volumes": {"/": "/host"},
        "labels": {"flow-manager.instance": "other"},
    }
    archive = verify(
        write(tmp_path / "bad.tar", {"filesystem": STATE}, changes={"container": asked})
    )
    with pytest.raises(InvalidRequest) as caught:
        Manifest.read(archive).request(None, {})
    fields = {fault.field for fault in caught.value.faults}
    assert fields == {
        "container.name",
        "container.environment.FLOW_SOCKET",
        "container.privileged",
        "container.labels.flow-manager.instance",
    }


@pytest.mark.parametrize(
    "container", [{"image": "memory"}, {"name": "flow"}, {"name": 7, "image": "memory"}, [], None]
)
def test_a_manifest_that_does_not_say_of_which_container_is_refused(
    tmp_path: Path, container: Any
) -> None:
    path = write(tmp_path / "a.tar", {"filesystem": STATE}, changes={"container": container})
    with pytest.raises(InvalidRequest, match="its manifest cannot be read"):
        Manifest.read(verify(path))


@pytest.mark.parametrize("volumes", [["/etc"], None, "/etc:/data", 7])
def test_a_manifest_whose_volumes_are_no_object_is_named(tmp_path: Path, volumes: Any) -> None:
    asked = {"image": "memory", "name": "flow", "volumes": volumes}
    archive = verify(write(tmp_path / "a.tar", {"filesystem": STATE}, changes={"container": asked}))
    with pytest.raises(InvalidRequest) as caught:
        Manifest.read(archive).request(None, {"/old": "/new"})
    assert [fault.field for fault in caught.value.faults] == ["container.volumes"]


def test_a_volume_may_be_taken_to_another_folder_and_no_other_volume_named(
    tmp_path: Path,
) -> None:
    asked = {"image": "memory", "name": "flow", "volumes": {"/old": {"bind": "/data"}}}
    archive = verify(write(tmp_path / "a.tar", {"filesystem": STATE}, changes={"container": asked}))
    manifest = Manifest.read(archive)
    (mount,) = manifest.request(None, {"/old": "/new"}).volumes
    assert (mount.source, mount.target) == ("/new", "/data")
    with pytest.raises(InvalidRequest, match="is no volume of the backup"):
        manifest.request(None, {"/other": "/new"})


def test_a_manifest_is_what_the_writer_would_say_of_it(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.tar", {"filesystem": STATE}, changes={"has_code": True, "left_out": ["x: y"]}
    )
    manifest = Manifest.read(verify(path))
    assert manifest.has_code
    assert manifest.left_out == ("x: y",)
    assert dict(manifest.container) == manifest_of({})["container"]


def test_a_backup_that_grows_over_the_limit_is_named(tmp_path: Path) -> None:
    with (tmp_path / "big.tar").open("wb") as file:
        writer = ArchiveWriter(file.fileno(), Gauge(), made=0, limit=100_000)
        part = writer.begin("parts/filesystem.tar")
        with pytest.raises(SystemFault, match="grows over 100000 bytes"):
            for _ in range(1000):
                part.write(bytes(1000))
    assert (tmp_path / "big.tar").stat().st_size <= 100_000


def test_a_full_disk_is_named() -> None:
    with open("/dev/full", "wb") as full:
        writer = ArchiveWriter(full.fileno(), Gauge(), made=0, limit=LIMIT)
        with pytest.raises(SystemFault, match="No space left on device"):
            writer.add(HEAD, dump({}))


def test_a_transfer_that_was_ended_touches_its_file_no_more(tmp_path: Path) -> None:
    gauge = Gauge()
    with (tmp_path / "cut.tar").open("wb") as file:
        writer = ArchiveWriter(file.fileno(), gauge, made=0, limit=LIMIT)
        part = writer.begin("parts/filesystem.tar")
        gauge.stop()
        with pytest.raises(TransferStopped):
            part.write(b"more")
    assert (tmp_path / "cut.tar").stat().st_size == 512


def test_many_entries_take_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "many.tar"
    path.write_bytes(tar_of(*(entry(f"{number:06}") for number in range(3000))))
    with descriptor_of(path) as descriptor:
        window = Window(descriptor, 0, path.stat().st_size, Gauge())
        tracemalloc.start()
        try:
            assert check_part("filesystem", window) == 3000
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 1_000_000
