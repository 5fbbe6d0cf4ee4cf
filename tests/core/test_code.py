"""Code folders become archives: links stay links, and nothing is followed or lost."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from flow_manager_core.code import pack_code
from flow_manager_core.errors import InvalidRequest
from flow_manager_core.paths import HostRules
from flow_manager_core.settings import Settings


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


def test_the_manager_s_own_folders_are_never_handed_out(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "link").symlink_to(real)
    (tmp_path / "mine").mkdir()
    settings = Settings(
        state_dir=tmp_path / "link", socket_dir=tmp_path / "s", volume_roots=(tmp_path,)
    )
    rules = HostRules.of(settings)
    assert rules.real(real, writes=False)[1]
    assert rules.real(tmp_path, writes=False)[1]
    assert rules.real(tmp_path / "mine", writes=True) == (tmp_path / "mine", None)
