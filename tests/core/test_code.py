"""Code folders become archives: links stay links, and nothing is followed or lost."""

from __future__ import annotations

import os
import tarfile
import threading
from pathlib import Path
from typing import Any

import pytest

from flow_manager_core import code
from flow_manager_core.code import MOST_DEPTH, MOST_FAULTS, pack_code
from flow_manager_core.errors import InvalidRequest


def packed(folder: Path, archive: Path) -> dict[str, bytes | str | None]:
    pack_code(folder, archive)
    with tarfile.open(archive) as tar:
        found: dict[str, bytes | str | None] = {}
        for member in tar:
            file = tar.extractfile(member) if member.isreg() else None
            found[member.name] = file.read() if file else member.linkname or None
            assert (member.uid, member.gid, member.uname) == (0, 0, "")
        return found


def test_files_folders_and_links_are_packed_as_they_are(tmp_path: Path) -> None:
    folder = tmp_path / "code"
    (folder / "sub" / "empty").mkdir(parents=True)
    (folder / "main.py").write_text("print()")
    os.link(folder / "main.py", folder / "twin.py")
    (folder / "sub" / "out").symlink_to("/etc/passwd")
    assert packed(folder, tmp_path / "a.tar") == {
        "main.py": b"print()",
        "twin.py": b"print()",
        "sub": None,
        "sub/empty": None,
        "sub/out": "/etc/passwd",
    }


def test_what_cannot_be_packed_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "code"
    folder.mkdir()
    with pytest.raises(InvalidRequest, match="empty"):
        pack_code(folder, tmp_path / "a.tar")
    os.mkfifo(folder / "pipe")
    os.mkfifo(folder / "other")
    with pytest.raises(InvalidRequest) as caught:
        pack_code(folder, tmp_path / "a.tar")
    assert len(caught.value.faults) == 2


def told(folder: Path, archive: Path, **limits: Any) -> str:
    with pytest.raises(InvalidRequest) as caught:
        pack_code(folder, archive, **limits)
    assert len(caught.value.faults) <= MOST_FAULTS
    return "; ".join(fault.message for fault in caught.value.faults)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of code with one file."""
    made = tmp_path / "code"
    made.mkdir()
    (made / "main.py").write_text("print()")
    return made


def test_a_folder_over_the_limit_is_refused_before_it_is_read(folder: Path, tmp_path: Path) -> None:
    with (folder / "sparse").open("wb") as file:
        file.truncate(2**40)
    assert "more than 1073741824 bytes, with sparse" in told(folder, tmp_path / "a.tar")
    assert (tmp_path / "a.tar").stat().st_size < 100_000
    assert "more than 3 bytes" in told(folder, tmp_path / "a.tar", limit=3)


def test_a_folder_of_too_many_entries_is_refused_before_they_are_all_seen(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code, "MOST_ENTRIES", 10)
    for number in range(12):
        (folder / f"{number}.py").touch()
    assert "more than 10 entries" in told(folder, tmp_path / "a.tar")


def test_folders_within_folders_without_end_are_refused(folder: Path, tmp_path: Path) -> None:
    deepest = folder
    for _ in range(MOST_DEPTH + 2):
        deepest = deepest / "d"
        deepest.mkdir()
    assert "folders deep" in told(folder, tmp_path / "a.tar")


def test_a_thousand_pipes_are_told_as_a_few(folder: Path, tmp_path: Path) -> None:
    for number in range(MOST_FAULTS * 3):
        os.mkfifo(folder / f"{number}.pipe")
    assert "is no file" in told(folder, tmp_path / "a.tar")


def test_a_name_that_is_no_text_is_told_as_one(folder: Path, tmp_path: Path) -> None:
    os.mkfifo(os.fsencode(folder) + b"/\xff")
    told(folder, tmp_path / "a.tar").encode()


def test_the_open_folder_is_asked_about_not_its_name(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    asked: list[Path] = []

    def refuse(real: Path) -> str | None:
        asked.append(real)
        return "is not yours"

    assert told(tmp_path / "link", tmp_path / "a.tar", refuse=refuse) == "is not yours"
    assert asked == [folder.resolve()]


def test_a_folder_exchanged_for_a_link_while_it_is_packed_is_never_followed(
    folder: Path, tmp_path: Path
) -> None:
    """A container that has the folder mounted does this as fast as it can."""
    treasure = tmp_path / "treasure"
    treasure.mkdir()
    for number in range(20):
        (folder / f"{number}").mkdir()
        (folder / f"{number}" / "own.py").write_text("own")
        (treasure / "own.py").write_text("treasure")
    (tmp_path / "link").symlink_to(treasure)
    done = threading.Event()

    def swap() -> None:
        while not done.is_set():
            for number in range(20):
                (folder / f"{number}").rename(tmp_path / "aside")
                (tmp_path / "link").rename(folder / f"{number}")
                (folder / f"{number}").rename(tmp_path / "link")
                (tmp_path / "aside").rename(folder / f"{number}")

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        seen = [attempt(folder, tmp_path / "a.tar") for _ in range(15)]
    finally:
        done.set()
        swapper.join()
    assert len(seen) == 15
    assert all(content in (b"own", b"print()") for found in seen for content in found)


@pytest.mark.parametrize("name", ["sub", "file"])
def test_what_is_exchanged_between_the_look_and_the_opening_is_not_followed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (folder / "sub").mkdir()
    (folder / "file").touch()
    treasure = tmp_path / "treasure"
    treasure.mkdir() if name == "sub" else treasure.touch()
    real_open = os.open

    def outrun(path: Any, flags: int, **rest: Any) -> int:
        if path == name:
            (folder / name).rename(tmp_path / "aside")
            (folder / name).symlink_to(treasure)
        return real_open(path, flags, **rest)

    monkeypatch.setattr(os, "open", outrun)
    assert told(folder, tmp_path / "a.tar").startswith(name)


def test_a_link_exchanged_for_a_file_while_it_is_read_is_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "link").symlink_to("elsewhere")
    real_readlink = os.readlink

    def outrun(name: Any, **rest: Any) -> str:
        if name == "link":
            (folder / "link").unlink()
            (folder / "link").write_text("no link")
        return real_readlink(name, **rest)

    monkeypatch.setattr(os, "readlink", outrun)
    assert told(folder, tmp_path / "a.tar").startswith("link changed")


def attempt(folder: Path, archive: Path) -> list[bytes]:
    """The contents that were packed; none where the folder was seen to change."""
    try:
        found = packed(folder, archive).values()
    except InvalidRequest:
        return []
    return [content for content in found if isinstance(content, bytes)]


def test_a_file_that_shrinks_while_it_is_read_is_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    big = folder / "big"
    big.write_bytes(bytes(10**6))
    real_info = code._info

    def shrinking(*arguments: Any) -> Any:
        os.truncate(big, 10)
        return real_info(*arguments)

    monkeypatch.setattr(code, "_info", shrinking)
    assert "big changed while it was read" in told(folder, tmp_path / "a.tar")
