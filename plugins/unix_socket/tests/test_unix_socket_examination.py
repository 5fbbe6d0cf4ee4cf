"""What is left over of sockets is cleaned up; what is in use, or anybody else's, never."""

from __future__ import annotations

import os
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from flow_manager_core.findings import Finding, NotExamined, Scene
from flow_manager_core.log import get_log
from flow_manager_core.providers import ProviderContext
from flow_manager_core.settings import Settings
from flow_manager_unix_socket.examination import folder, leftovers
from flow_manager_unix_socket.place import Place
from flow_manager_unix_socket.settings import UnixSocketSettings
from flow_manager_unix_socket.socket_table import connections


@pytest.fixture
def root() -> Iterator[Path]:
    # A short path: a socket's path holds 107 bytes.
    with tempfile.TemporaryDirectory(prefix="fmx-") as made:
        yield Path(made) / "sockets"


def found(root: Path, known: frozenset[str] | None = frozenset()) -> Sequence[Finding]:
    core = Settings(socket_dir=root)
    context = ProviderContext(settings=UnixSocketSettings(), core=core, log=get_log("test"))
    return [f for f in leftovers(context, Scene(core=core, known=known)) if f.remedy]


def left(root: Path, name: str, *, age: float = 120) -> Place:
    place = Place(root, name)
    place.bind(1).close()
    grow_old(place, age)
    return place


def grow_old(place: Place, age: float = 120) -> None:
    for path in (place.socket, place.folder, place.address):
        if os.path.lexists(path):
            os.utime(path, (time.time() - age,) * 2, follow_symlinks=False)


def fix(finding: Finding) -> str:
    assert finding.fix is not None
    return finding.fix()


def test_what_is_left_over_is_removed_once(root: Path) -> None:
    left(root, "ghost")
    (finding,) = found(root)
    assert fix(finding).startswith("removed ")
    assert list(root.iterdir()) == []
    assert fix(finding).endswith("left alone")
    assert found(root) == []


def test_a_socket_that_somebody_listens_on_is_left_alone(root: Path) -> None:
    place = Place(root, "busy")
    with closing(place.bind(1)):
        grow_old(place)
        assert found(root) == []
    assert len(found(root)) == 1


def test_a_socket_that_is_taken_into_use_after_the_look_is_left_alone(root: Path) -> None:
    place = left(root, "ghost")
    (finding,) = found(root)
    with closing(place.bind(1)):
        grow_old(place)
        assert fix(finding).endswith("in use again: left alone")
        assert place.intact()


def test_what_somebody_may_come_back_for_is_left_alone(root: Path) -> None:
    left(root, "theirs")
    assert found(root, frozenset({"theirs"})) == []


def test_nothing_is_called_left_over_while_it_is_not_known_which_containers_there_are(
    root: Path,
) -> None:
    left(root, "ghost")
    with pytest.raises(NotExamined, match="not known"):
        found(root, None)


def test_what_was_made_just_now_may_belong_to_a_create_and_is_left_alone(root: Path) -> None:
    left(root, "young", age=5)
    assert found(root) == []


def test_what_is_mounted_anywhere_is_left_alone(root: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED: mounts are made by root")
    place = left(root, "strange")
    point = root.parent / "point"
    point.mkdir()
    assert os.system(f"mount --bind {place.folder} {point}") == 0
    try:
        assert found(root) == []
    finally:
        assert os.system(f"umount {point}") == 0
    assert len(found(root)) == 1


def test_a_link_in_place_of_a_socket_is_removed_and_not_followed(root: Path) -> None:
    left(root, "other").remove()
    precious = root.parent / "precious"
    precious.mkdir()
    (precious / "flow.sock").write_text("kept")
    (root / "a.sock").symlink_to(precious / "flow.sock")
    (root / "b.d").symlink_to(precious)
    for name in ("a", "b"):
        grow_old(Place(root, name))
    for finding in found(root):
        fix(finding)
    assert (precious / "flow.sock").read_text() == "kept"
    assert (root / "b.d").is_symlink()


def test_a_folder_below_which_somebody_planted_links_takes_nothing_with_it(root: Path) -> None:
    place = left(root, "ghost")
    precious = root.parent / "precious"
    precious.mkdir()
    (precious / "file").write_text("kept")
    (place.folder / "deep").symlink_to(precious)
    grow_old(place)
    (finding,) = found(root)
    fix(finding)
    assert not place.folder.exists()
    assert (precious / "file").read_text() == "kept"


def test_looking_at_the_folder_does_not_mend_it(root: Path) -> None:
    root.mkdir()
    root.chmod(0o755)
    core = Settings(socket_dir=root)
    context = ProviderContext(settings=UnixSocketSettings(), core=core, log=get_log("test"))
    (finding,) = folder(context, Scene(core=core))
    # It is empty, so the start may take it, and takes others' rights away itself.
    assert not finding.remedy
    assert root.stat().st_mode & 0o777 == 0o755


def test_connections_are_counted_without_connecting(root: Path) -> None:
    place = Place(root, "flow")
    with closing(place.bind(2)) as listener, closing(socket.socket(socket.AF_UNIX)) as flow:
        assert count(place) == 0
        flow.connect(str(place.address))
        with closing(listener.accept()[0]):
            assert count(place) == 1
    assert count(place) == 0


def count(place: Place) -> int:
    number = place.socket.stat().st_ino & 0xFFFFFFFF
    return sum(n for (inode, _), n in connections().items() if inode == number)
