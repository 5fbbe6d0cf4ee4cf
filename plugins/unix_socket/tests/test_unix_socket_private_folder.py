"""Nobody who may write to a shared folder can lead the manager elsewhere."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from cattrs.errors import ClassValidationError

from flow_manager_core.errors import ConfigurationError
from flow_manager_core.log import get_log
from flow_manager_core.providers import ProviderContext
from flow_manager_core.settings import Settings
from flow_manager_core.structuring import faults_of, strict_converter
from flow_manager_unix_socket.private_folder import Unsafe, private_folder
from flow_manager_unix_socket.settings import UnixSocketSettings
from flow_manager_unix_socket.transport import unix_socket_transport

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
SOMEBODY = 12345


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder such as ``/tmp``."""
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    return folder


def use(path: Path) -> None:
    with private_folder(path, create=True) as folder:
        assert os.path.samestat(os.fstat(folder), path.stat())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_all_that_is_missing_is_made_for_us_alone(shared: Path) -> None:
    former = os.umask(0)
    try:
        use(shared / "kawaflow/sockets")
    finally:
        os.umask(former)
    assert mode(shared / "kawaflow") == mode(shared / "kawaflow/sockets") == 0o700
    use(shared / "kawaflow/sockets")


def link_in_the_way(shared: Path) -> None:
    (shared / "kawaflow").symlink_to(shared.parent)


def link_at_the_end(shared: Path) -> None:
    (shared / "kawaflow").mkdir(mode=0o700)
    (shared / "kawaflow/sockets").symlink_to(shared.parent)


def dangling_link(shared: Path) -> None:
    (shared / "kawaflow").symlink_to(shared.parent / "not-there")


def file_in_the_way(shared: Path) -> None:
    (shared / "kawaflow").touch()


def folder_for_a_group(shared: Path) -> None:
    (shared / "kawaflow").mkdir()
    (shared / "kawaflow").chmod(0o770)


def folder_for_everyone(shared: Path) -> None:
    (shared / "kawaflow/sockets").mkdir(parents=True)
    (shared / "kawaflow/sockets").chmod(0o777)


def folder_of_somebody(shared: Path) -> None:
    (shared / "kawaflow").mkdir(mode=0o700)
    os.chown(shared / "kawaflow", SOMEBODY, SOMEBODY)


def last_folder_of_somebody(shared: Path) -> None:
    (shared / "kawaflow").mkdir(mode=0o700)
    (shared / "kawaflow/sockets").mkdir(mode=0o700)
    os.chown(shared / "kawaflow/sockets", SOMEBODY, SOMEBODY)


TRAPS = [
    link_in_the_way,
    link_at_the_end,
    dangling_link,
    file_in_the_way,
    folder_for_a_group,
    folder_for_everyone,
    pytest.param(folder_of_somebody, marks=needs_root),
    pytest.param(last_folder_of_somebody, marks=needs_root),
]


@pytest.mark.parametrize("trap", TRAPS)
def test_what_somebody_put_there_first_is_refused_by_name(
    shared: Path, trap: Callable[[Path], None]
) -> None:
    trap(shared)
    before = sorted(shared.parent.rglob("*"))
    with pytest.raises(Unsafe, match="kawaflow"):
        use(shared / "kawaflow/sockets")
    assert sorted(shared.parent.rglob("*")) == before


@pytest.mark.anyio
@pytest.mark.parametrize("trap", TRAPS)
async def test_the_start_is_refused_with_the_setting_named(
    shared: Path, trap: Callable[[Path], None]
) -> None:
    trap(shared)
    context = ProviderContext(
        settings=UnixSocketSettings(),
        core=Settings(socket_dir=shared / "kawaflow/sockets"),
        log=get_log("transport.unix_socket"),
    )
    with pytest.raises(ConfigurationError, match="kawaflow") as raised:
        async with unix_socket_transport(context):
            pass
    assert [fault.field for fault in raised.value.faults] == ["socket_dir"]


def test_a_link_that_only_we_could_have_made_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with private_folder(tmp_path / "link/sockets", create=True):
        assert mode(tmp_path / "real/sockets") == 0o700


def test_a_link_of_ours_into_a_shared_folder_earns_no_trust_there(
    tmp_path: Path, shared: Path
) -> None:
    (tmp_path / "link").symlink_to(shared)
    (shared / "kawaflow").symlink_to(tmp_path)
    with pytest.raises(Unsafe, match="kawaflow"):
        use(tmp_path / "link/kawaflow/sockets")


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    with pytest.raises(OSError, match="symbolic links"):
        use(tmp_path / "one/sockets")


def test_an_empty_folder_that_others_may_read_is_closed_to_them(tmp_path: Path) -> None:
    (tmp_path / "sockets").mkdir(mode=0o755)
    use(tmp_path / "sockets")
    assert mode(tmp_path / "sockets") == 0o700


def test_a_folder_in_use_that_others_may_read_is_refused_and_not_changed(tmp_path: Path) -> None:
    (tmp_path / "sockets").mkdir(mode=0o755)
    (tmp_path / "sockets/other").touch()
    with pytest.raises(Unsafe, match="0700"):
        use(tmp_path / "sockets")
    assert mode(tmp_path / "sockets") == 0o755


def test_nothing_is_made_when_nothing_is_to_be_made(tmp_path: Path) -> None:
    with (
        pytest.raises(FileNotFoundError),
        private_folder(tmp_path / "no/sockets", create=False),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_a_refusal_leaves_no_descriptor_behind(shared: Path) -> None:
    link_in_the_way(shared)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        with pytest.raises(Unsafe):
            use(shared / "kawaflow/sockets")
    assert len(os.listdir("/proc/self/fd")) == before


def test_every_setting_out_of_its_bounds_is_named() -> None:
    wrong = {"max_connections": 0}
    with pytest.raises(ClassValidationError) as raised:
        strict_converter().structure(wrong, UnixSocketSettings)
    (fault,) = faults_of(raised.value)
    assert fault.field == "max_connections"
    assert "1 to 1000" in fault.message
