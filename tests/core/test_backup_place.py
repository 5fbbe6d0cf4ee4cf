"""Where backups stand: below one folder, through no link, whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flow_manager_core.backups.place import BackupFile
from flow_manager_core.errors import InvalidRequest, SystemFault

KEY = "0123456789abcdef"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "backups"


def write(root: Path, path: str, content: bytes = b"new", *, overwrite: bool = False) -> BackupFile:
    file = BackupFile.of(root, path)
    with file.written(KEY, overwrite=overwrite) as draft:
        os.write(draft.descriptor, content)
        draft.put()
    return file


def left(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def test_a_backup_is_for_its_owner_alone(root: Path) -> None:
    write(root, "a/b/one.tar")
    assert left(root) == ["a", "a/b", "a/b/one.tar"]
    modes = {path.name: path.stat().st_mode & 0o777 for path in [root, *root.rglob("*")]}
    assert modes == {"backups": 0o700, "a": 0o700, "b": 0o700, "one.tar": 0o600}


def test_a_path_may_be_absolute_below_the_folder(root: Path) -> None:
    assert write(root, f"{root}/one.tar").path == str(root / "one.tar")


@pytest.mark.parametrize(
    "path",
    ["../x", "a/../../x", "/etc/passwd", "/", ".", "", "a/", ".hidden", "a/.hidden/x", "a/.."],
)
def test_a_path_elsewhere_is_refused(root: Path, path: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        BackupFile.of(root, path)
    assert caught.value.faults[0].field == "path"


def test_a_failure_leaves_no_half_backup(root: Path) -> None:
    file = BackupFile.of(root, "one.tar")
    with pytest.raises(SystemFault), file.written(KEY, overwrite=False) as draft:
        os.write(draft.descriptor, b"half")
        raise SystemFault("the disk is full")
    assert left(root) == []


def test_what_a_kill_left_is_taken_away(root: Path) -> None:
    file = BackupFile.of(root, "a/one.tar")
    (root / "a").mkdir(parents=True)
    (root / "a" / f".{KEY}.part").write_bytes(b"half")
    (root / "a" / "other.tar").write_bytes(b"whole")
    file.clear(KEY)
    file.clear(KEY)
    BackupFile.of(root, "gone/one.tar").clear(KEY)
    assert left(root) == ["a", "a/other.tar"]


def test_a_backup_is_not_overwritten_unless_that_is_said(root: Path) -> None:
    write(root, "one.tar", b"old")
    with pytest.raises(InvalidRequest, match="exists already"):
        write(root, "one.tar")
    assert (root / "one.tar").read_bytes() == b"old"
    write(root, "one.tar", overwrite=True)
    assert (root / "one.tar").read_bytes() == b"new"


def test_one_that_came_meanwhile_is_not_overwritten(root: Path) -> None:
    file = BackupFile.of(root, "one.tar")
    with pytest.raises(InvalidRequest, match="exists already"):
        with file.written(KEY, overwrite=False) as draft:
            (root / "one.tar").write_bytes(b"somebody's")
            draft.put()
    assert (root / "one.tar").read_bytes() == b"somebody's"
    assert left(root) == ["one.tar"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_link_in_the_place_of_a_backup_is_never_followed(
    root: Path, tmp_path: Path, overwrite: bool
) -> None:
    target = tmp_path / "precious"
    target.write_bytes(b"precious")
    root.mkdir()
    (root / "one.tar").symlink_to(target)
    if overwrite:
        write(root, "one.tar", overwrite=True)
        assert not (root / "one.tar").is_symlink()
    else:
        with pytest.raises(InvalidRequest):
            write(root, "one.tar")
    assert target.read_bytes() == b"precious"


def test_a_link_in_the_place_of_a_folder_is_never_followed(root: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "one.tar").write_bytes(b"x")
    root.mkdir()
    (root / "a").symlink_to(elsewhere)
    with pytest.raises(InvalidRequest, match="leads through a link"):
        write(root, "a/two.tar")
    with pytest.raises(InvalidRequest, match="leads through a link"):
        with BackupFile.of(root, "a/one.tar").opened():
            pass
    assert left(elsewhere) == ["one.tar"]


def test_only_plain_files_are_read(root: Path) -> None:
    root.mkdir()
    os.mkfifo(root / "pipe")
    (root / "folder").mkdir()
    (root / "link").symlink_to("/dev/zero")
    for name in ("pipe", "folder", "link", "absent", "absent/one.tar"):
        with pytest.raises(InvalidRequest), BackupFile.of(root, name).opened():
            pass


def test_a_folder_in_the_place_of_a_backup_is_named(root: Path) -> None:
    (root / "one.tar").mkdir(parents=True)
    with pytest.raises(InvalidRequest, match="is a folder"):
        write(root, "one.tar", overwrite=True)
