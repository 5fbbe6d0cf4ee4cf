"""The sockets' files: who may do what with them, and what happens when somebody meddles."""

# ruff: noqa: ASYNC220, ASYNC240  # a test may look at files while it holds the loop

from __future__ import annotations

import errno
import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from anyio.abc import ByteStream

from flow_manager_core.contracts import Endpoint, Transport
from flow_manager_core.errors import ChannelError
from flow_manager_core.log import get_log
from flow_manager_core.providers import ProviderContext
from flow_manager_core.settings import Settings
from flow_manager_core.socket_stream import SocketStream
from flow_manager_unix_socket.settings import UnixSocketSettings
from flow_manager_unix_socket.transport import AT_ONCE, unix_socket_transport

pytestmark = pytest.mark.anyio

LISTENS = """
import socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "sockets"


@asynccontextmanager
async def transport_at(root: Path, **settings: float) -> AsyncIterator[Transport]:
    chosen = UnixSocketSettings(**{"watch_interval": 0.05, **settings})  # type: ignore[arg-type]
    context = ProviderContext(
        settings=chosen, core=Settings(socket_dir=root), log=get_log("transport.unix_socket")
    )
    async with unix_socket_transport(context) as transport:
        yield transport


async def echo(stream: ByteStream) -> None:
    async for piece in stream:
        await stream.send(piece)


def connected(path: Path | str) -> SocketStream:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(path))
    except OSError:
        connection.close()
        raise
    return SocketStream(connection)


async def echoes(stream: ByteStream) -> bool:
    with anyio.move_on_after(2):
        try:
            await stream.send(b"echo")
            return await stream.receive() == b"echo"
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return False
    return False


async def answers(path: Path) -> bool:
    try:
        stream = connected(path)
    except OSError:
        return False
    async with stream:
        return await echoes(stream)


async def until_answers(*paths: Path) -> None:
    with anyio.fail_after(5):
        for path in paths:
            while not await answers(path):
                await anyio.sleep(0.01)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


async def test_folder_and_sockets_have_the_modes_that_let_flows_in_and_others_out(
    root: Path,
) -> None:
    former = os.umask(0o077)
    try:
        async with transport_at(root) as transport:
            endpoint = await transport.open("flow", echo)
            assert endpoint.address == str(root / "flow.sock")
            assert mode(root) == 0o700
            assert mode(root / "flow.d") == 0o755
            assert mode(root / "flow.d/flow.sock") == mode(root / "flow.sock") == 0o666
            assert stat.S_ISSOCK((root / "flow.sock").lstat().st_mode)
            assert sorted(p.name for p in root.rglob("*")) == ["flow.d", "flow.sock", "flow.sock"]
    finally:
        os.umask(former)


async def test_an_isolated_container_gets_its_folder_read_only_and_nothing_else(
    root: Path,
) -> None:
    async with transport_at(root) as transport:
        attachment = (await transport.open("flow", echo)).attachment(isolated=True)
    (mount,) = attachment.mounts
    assert (mount.source, mount.target, mount.read_only) == (
        str(root / "flow.d"),
        "/run/flow",
        True,
    )
    assert set(attachment.environment.values()) == {"/run/flow/flow.sock"}


async def test_a_program_without_a_container_gets_the_hosts_path(root: Path) -> None:
    async with transport_at(root) as transport:
        attachment = (await transport.open("flow", echo)).attachment(isolated=False)
    assert not attachment.mounts
    assert set(attachment.environment.values()) == {str(root / "flow.sock")}


@pytest.mark.parametrize(
    "removed",
    [["flow.sock"], ["flow.d/flow.sock"], ["flow.sock", "flow.d/flow.sock"]],
    ids=["address", "socket", "both"],
)
async def test_what_is_removed_by_hand_is_made_again_and_connections_live_on(
    root: Path, removed: list[str]
) -> None:
    async with transport_at(root) as transport:
        await transport.open("flow", echo)
        folder = (root / "flow.d").stat().st_ino
        async with connected(root / "flow.sock") as stream:
            assert await echoes(stream)
            for name in removed:
                (root / name).unlink()
            await until_answers(root / "flow.sock", root / "flow.d/flow.sock")
            assert await echoes(stream)
        assert (root / "flow.d").stat().st_ino == folder
        assert (root / "flow.sock").lstat().st_ino == (root / "flow.d/flow.sock").lstat().st_ino


async def test_of_many_channels_which_take_turns_each_removed_one_is_made_again(root: Path) -> None:
    async with transport_at(root) as transport:
        opened = [await transport.open(f"flow-{number}", echo) for number in range(2 * AT_ONCE + 7)]
        for endpoint in opened:
            Path(endpoint.address).unlink()
        await settles(lambda: all(Path(endpoint.address).exists() for endpoint in opened))


async def test_the_whole_folder_may_be_removed_by_hand(root: Path) -> None:
    async with transport_at(root) as transport:
        await transport.open("flow", echo)
        (root / "flow.sock").unlink()
        (root / "flow.d/flow.sock").unlink()
        (root / "flow.d").rmdir()
        root.rmdir()
        await until_answers(root / "flow.sock", root / "flow.d/flow.sock")
        assert mode(root) == 0o700


async def test_what_is_put_in_the_place_of_a_socket_is_replaced(root: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("kept")
    async with transport_at(root) as transport:
        await transport.open("flow", echo)
        for path in (root / "flow.sock", root / "flow.d/flow.sock"):
            path.unlink()
            path.symlink_to(precious)
        await until_answers(root / "flow.sock", root / "flow.d/flow.sock")
    assert precious.read_text() == "kept"
    assert mode(precious) != 0o666


async def test_a_folder_in_the_place_of_a_socket_is_refused_by_name(root: Path) -> None:
    (root / "flow.sock").mkdir(parents=True)
    root.chmod(0o700)
    async with transport_at(root) as transport:
        with pytest.raises(ChannelError, match=r"flow\.sock"):
            await transport.open("flow", echo)
        await transport.open("other", echo)


@pytest.mark.parametrize("name", ["flow.d", "flow.sock", "flow.d/flow.sock"])
async def test_links_that_stand_there_before_are_never_followed(
    root: Path, tmp_path: Path, name: str
) -> None:
    target = tmp_path / "target"
    target.mkdir(mode=0o700)
    path = root / name
    path.parent.mkdir(parents=True, mode=0o700)
    root.chmod(0o700)
    path.symlink_to(target)
    async with transport_at(root) as transport:
        if name == "flow.d":
            with pytest.raises(ChannelError, match=r"flow"):
                await transport.open("flow", echo)
        else:
            await transport.open("flow", echo)
            await until_answers(root / "flow.sock")
    assert not list(target.iterdir())
    assert mode(target) == 0o700


async def test_a_close_with_remove_follows_no_link(root: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "precious").touch()
    async with transport_at(root) as transport:
        endpoint = await transport.open("flow", echo)
        (root / "flow.d").rename(root / "elsewhere")
        (root / "flow.d").symlink_to(target)
        await endpoint.close(remove=True)
    assert [path.name for path in target.iterdir()] == ["precious"]
    assert [path.name for path in root.iterdir()] == ["elsewhere"]


async def test_what_a_killed_manager_left_is_taken_over_in_the_same_folder(root: Path) -> None:
    async with transport_at(root) as transport:
        await transport.open("flow", echo)
    folder = (root / "flow.d").stat().st_ino
    assert (root / "flow.d/flow.sock").exists()
    (root / "flow.d/flow.sock.new").touch()
    (root / "flow.sock.new").touch()
    async with transport_at(root) as transport:
        await transport.open("flow", echo)
        await until_answers(root / "flow.sock")
        assert sorted(p.name for p in root.rglob("*")) == ["flow.d", "flow.sock", "flow.sock"]
    assert (root / "flow.d").stat().st_ino == folder


async def test_a_socket_that_another_process_listens_at_is_left_alone(root: Path) -> None:
    (root / "flow.d").mkdir(parents=True)
    root.chmod(0o700)
    path = root / "flow.d/flow.sock"
    with subprocess.Popen(
        [sys.executable, "-c", LISTENS, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        before = path.lstat().st_ino
        async with transport_at(root) as transport:
            with pytest.raises(ChannelError, match=r"Another process listens at .*flow\.sock"):
                await transport.open("flow", echo)
        assert path.lstat().st_ino == before
        other.communicate()


async def test_where_hard_links_are_impossible_the_address_is_a_link(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise PermissionError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    async with transport_at(root) as transport:
        endpoint = await transport.open("flow", echo)
        assert (root / "flow.sock").readlink() == Path("flow.d/flow.sock")
        await until_answers(root / "flow.sock")
        (root / "flow.d/flow.sock").unlink()
        await until_answers(root / "flow.sock")
        await endpoint.close(remove=True)
    assert not list(root.iterdir())


async def test_the_length_of_a_path_is_measured_before_a_container_is_made(
    tmp_path: Path,
) -> None:
    root = tmp_path / ("d" * (107 - len(str(tmp_path)) - len("//") - len("fits.sock")))
    async with transport_at(root) as transport:
        assert not transport.unsupported("fits")
        await transport.open("fits", echo)
        await until_answers(root / "fits.sock")
        (fault,) = transport.unsupported("longer")
        assert fault.field == "name"
        assert "109 bytes" in fault.message


async def test_a_long_path_is_no_hindrance_to_the_managers_own_side(tmp_path: Path) -> None:
    root = tmp_path / ("d" * 150) / ("e" * 150)
    async with transport_at(root) as transport:
        await transport.open("flow", echo)
        held = os.open(root, os.O_RDONLY)
        try:
            await until_answers(Path(f"/proc/self/fd/{held}/flow.sock"))
        finally:
            os.close(held)


async def test_connections_over_the_limit_are_closed_at_once(root: Path) -> None:
    async with transport_at(root, max_connections=3) as transport:
        await transport.open("flow", echo)
        streams = [connected(root / "flow.sock") for _ in range(3)]
        assert [await echoes(stream) for stream in streams] == [True] * 3
        async with connected(root / "flow.sock") as extra:
            assert not await echoes(extra)
        await streams.pop().aclose()
        await until_answers(root / "flow.sock")
        for stream in streams:
            assert await echoes(stream)
            await stream.aclose()


async def test_without_descriptors_the_manager_waits_says_it_once_and_goes_on(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with transport_at(root, watch_interval=3600) as transport:
        await transport.open("flow", echo)
        connection = socket.socket(socket.AF_UNIX)
        taken = []
        try:
            while True:
                taken.append(os.dup(0))
        except OSError as error:
            assert error.errno == errno.EMFILE
        connection.connect(str(root / "flow.sock"))
        await anyio.sleep(0.5)
        busy = time.process_time()
        await anyio.sleep(0.5)
        assert time.process_time() - busy < 0.25
        for descriptor in taken:
            os.close(descriptor)
        async with SocketStream(connection) as stream:
            assert await echoes(stream)
    told = [r for r in caplog.records if "cannot be accepted" in r.getMessage()]
    assert len(told) == 1


async def test_descriptors_that_a_flow_sends_along_do_not_pile_up(root: Path) -> None:
    async with transport_at(root) as transport:
        await transport.open("flow", echo)
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(root / "flow.sock"))
        async with SocketStream(connection) as stream:
            assert await echoes(stream)
            before = len(os.listdir("/proc/self/fd"))
            for _ in range(50):
                socket.send_fds(connection, [b"x"], [0, 1, 2])
                assert await stream.receive()
            assert len(os.listdir("/proc/self/fd")) == before


async def test_a_socket_that_cannot_be_made_again_is_told_once(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with transport_at(root) as transport:
        await transport.open("flow", echo)
        (root / "flow.sock").unlink()
        (root / "flow.sock").mkdir()
        await anyio.sleep(0.5)
        (root / "flow.sock").rmdir()
        await until_answers(root / "flow.sock")
    told = [r for r in caplog.records if "cannot be made again" in r.getMessage()]
    assert len(told) == 1


@pytest.mark.parametrize("remove", [True, False])
async def test_two_hundred_endpoints_leave_no_descriptor_behind(root: Path, remove: bool) -> None:
    async def use(number: int) -> Endpoint:
        endpoint = await transport.open(f"flow-{number}", echo)
        assert await answers(Path(endpoint.address))
        return endpoint

    before = descriptors()
    async with transport_at(root) as transport:
        endpoints = [await use(number) for number in range(200)]
        for endpoint in endpoints:
            await endpoint.close(remove=remove)
        await settles(lambda: descriptors() <= before + 8)
    if remove:
        assert not list(root.iterdir())


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def settles(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(5):
        while not condition():
            await anyio.sleep(0.01)
