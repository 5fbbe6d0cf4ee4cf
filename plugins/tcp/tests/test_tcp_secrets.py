"""The secrets' files: whole, ours alone, kept over the manager's lives, and never a link."""

# ruff: noqa: ASYNC240  # a test may look at files while it holds the loop

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from flow_manager_core.errors import ChannelError, ConfigurationError
from flow_manager_tcp.private_files import PrivateFiles
from flow_manager_tcp.vault import Vault
from plugins.tcp.tests.tcp_peer import echo, folder, join, says, transport_at

pytestmark = pytest.mark.anyio


async def secret_of(root: Path, name: str = "flow") -> str:
    """Live once, with one flow."""
    async with transport_at(root) as transport:
        endpoint = await transport.open(name, echo)
        return str(endpoint.attachment(isolated=True).environment["FLOW_SECRET"])


def file_of(root: Path, name: str = "flow") -> Path:
    return folder(root) / f"{name}.secret"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
async def test_nobody_else_may_look_at_the_secrets(tmp_path: Path, mask: int) -> None:
    former = os.umask(mask)
    try:
        secret = await secret_of(tmp_path / "state")
    finally:
        os.umask(former)
    root = tmp_path / "state"
    assert mode(folder(root)) == 0o700
    assert sorted(p.name for p in folder(root).iterdir()) == ["flow.secret", "port"]
    assert [mode(p) for p in folder(root).iterdir()] == [0o600, 0o600]
    assert file_of(root).read_text() == f"{secret}\n"


async def test_a_secret_lives_as_long_as_its_container(tmp_path: Path) -> None:
    secrets = {await secret_of(tmp_path) for _ in range(3)}
    assert len(secrets) == 1
    async with transport_at(tmp_path) as transport:
        endpoint = await transport.open("flow", echo)
        await endpoint.close(remove=False)
        assert file_of(tmp_path).exists()
        endpoint = await transport.open("flow", echo)
        await endpoint.close(remove=True)
        assert not file_of(tmp_path).exists()
    assert await secret_of(tmp_path) not in secrets


async def test_instances_have_secrets_of_their_own(tmp_path: Path) -> None:
    assert await secret_of(tmp_path / "a") != await secret_of(tmp_path / "b")


async def test_a_create_that_was_cut_off_and_is_repeated_finds_its_secret_or_a_new_one(
    tmp_path: Path,
) -> None:
    async with transport_at(tmp_path) as transport:
        for _ in range(50):
            with anyio.CancelScope() as scope:
                scope.cancel()
                await transport.open("flow", echo)
            assert scope.cancelled_caught
            assert not file_of(tmp_path).exists()
        endpoint = await transport.open("flow", echo)
        async with await join(endpoint.attachment(isolated=False)) as stream:
            await says(stream, b"in the end")


async def test_a_create_that_is_cut_off_while_its_secret_is_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with transport_at(tmp_path) as transport:
        with anyio.CancelScope() as scope:
            write = PrivateFiles.write

            def cut_off(files: PrivateFiles, name: str, text: str) -> None:
                write(files, name, text)
                anyio.from_thread.run_sync(scope.cancel)

            monkeypatch.setattr(PrivateFiles, "write", cut_off)
            await transport.open("flow", echo)
        monkeypatch.undo()
        assert scope.cancelled_caught
        assert not file_of(tmp_path).exists()
        await transport.open("flow", echo)


async def test_what_a_killed_manager_was_writing_is_cleared_away(tmp_path: Path) -> None:
    secret = await secret_of(tmp_path)
    left = folder(tmp_path) / "0011223344556677.aside"
    left.write_text("half a sec")
    assert await secret_of(tmp_path) == secret
    assert not left.exists()


def link(path: Path) -> None:
    path.symlink_to(path.parent / "elsewhere")


def link_to_secret(path: Path) -> None:
    (path.parent / "planted").write_text("A" * 43)
    (path.parent / "planted").chmod(0o600)
    path.symlink_to(path.parent / "planted")


def open_to_others(path: Path) -> None:
    path.write_text("A" * 43)
    path.chmod(0o644)


def pipe(path: Path) -> None:
    os.mkfifo(path, 0o600)


def short(path: Path) -> None:
    path.write_text("A" * 42)
    path.chmod(0o600)


def empty(path: Path) -> None:
    path.touch(0o600)


def a_folder(path: Path) -> None:
    path.mkdir(0o700)


@pytest.mark.parametrize(
    "plant", [link, link_to_secret, open_to_others, pipe, short, empty, a_folder]
)
@pytest.mark.parametrize("running", [True, False])
async def test_what_was_planted_in_a_secrets_place_is_refused_kept_and_hurts_no_other_flow(
    tmp_path: Path,
    plant: Callable[[Path], None],
    running: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await secret_of(tmp_path, "other")
    if not running:
        plant(file_of(tmp_path))
    async with transport_at(tmp_path) as transport:
        if running:
            plant(file_of(tmp_path))
        before = file_of(tmp_path).lstat()
        with pytest.raises(ChannelError, match=r"flow\.secret"):
            await transport.open("flow", echo)
        assert file_of(tmp_path).lstat() == before
        assert not (folder(tmp_path) / "elsewhere").exists()
        endpoint = await transport.open("other", echo)
        async with await join(endpoint.attachment(isolated=False)) as stream:
            await says(stream, b"unhurt")
    assert ("A secret cannot be used" in caplog.text) is not running


async def test_a_secret_that_was_copied_from_another_flow_is_refused(tmp_path: Path) -> None:
    await secret_of(tmp_path, "victim")
    shutil.copy2(file_of(tmp_path, "victim"), file_of(tmp_path, "thief"))
    async with transport_at(tmp_path) as transport:
        first, second = "thief", "victim"  # in the order in which the folder is read
        await transport.open(first, echo)
        with pytest.raises(ChannelError, match="has the secret of"):
            await transport.open(second, echo)


def folder_is_a_link(path: Path) -> None:
    (path.parent / "elsewhere").mkdir(0o700)
    path.symlink_to(path.parent / "elsewhere")


def folder_is_open(path: Path) -> None:
    path.mkdir(0o755)


def folder_is_a_file(path: Path) -> None:
    path.touch(0o600)


@pytest.mark.parametrize("plant", [folder_is_a_link, folder_is_open, folder_is_a_file])
async def test_what_was_planted_in_the_folders_place_stops_the_start(
    tmp_path: Path, plant: Callable[[Path], None]
) -> None:
    folder(tmp_path).parent.mkdir(parents=True)
    plant(folder(tmp_path))
    with pytest.raises(ConfigurationError, match="instances/default/tcp") as refused:
        async with transport_at(tmp_path):
            raise AssertionError("it began")
    assert refused.value.faults[0].field == "state_dir"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
async def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    await secret_of(tmp_path)
    os.chown(file_of(tmp_path), 1000, 1000)
    async with transport_at(tmp_path) as transport:
        with pytest.raises(ChannelError, match="belongs to another user"):
            await transport.open("flow", echo)


async def test_no_name_leads_out_of_the_folder(tmp_path: Path) -> None:
    names = ["..", ".", "../../../up", "a/b", "a%2fb", "port", "x.aside", "%", "ü"]
    found = {}
    async with transport_at(tmp_path) as transport:
        for name in names:
            endpoint = await transport.open(name, echo)
            found[name] = endpoint.attachment(isolated=True)
    assert len({each.environment["FLOW_SECRET"] for each in found.values()}) == len(names)
    assert len(list(folder(tmp_path).iterdir())) == len(names) + 1
    assert [path.name for path in tmp_path.iterdir()] == ["instances"]
    async with transport_at(tmp_path) as transport:
        for name in names:
            endpoint = await transport.open(name, echo)
            assert endpoint.attachment(isolated=True) == found[name]


async def test_a_name_that_makes_no_file_name_is_refused_before_a_container_is_made(
    tmp_path: Path,
) -> None:
    async with transport_at(tmp_path) as transport:
        assert not transport.unsupported("n" * 248)
        await transport.open("n" * 248, echo)
        (fault,) = transport.unsupported("n" * 249)
        assert (fault.field, "256 bytes" in fault.message) == ("name", True)
        with pytest.raises(ChannelError, match="too long"):
            await transport.open("n" * 249, echo)


async def test_a_full_disk_is_named_and_leaves_nothing_half_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    async with transport_at(tmp_path) as transport:
        monkeypatch.setattr("flow_manager_tcp.private_files.os.fsync", full)
        with pytest.raises(ChannelError, match="No space left"):
            await transport.open("flow", echo)
        monkeypatch.undo()
        assert [path.name for path in folder(tmp_path).iterdir()] == ["port"]
        await transport.open("flow", echo)


def test_secrets_are_long_and_never_the_same(tmp_path: Path) -> None:
    files = PrivateFiles(tmp_path / "secrets")
    files.prepare()
    vault = Vault(files)
    names = [f"flow-{number}" for number in range(200)]
    assert all(vault.keep(name) for name in names)
    secrets = {vault.secret(name) for name in names}
    assert len(secrets) == 200
    assert {len(secret) for secret in secrets} == {43}
    assert {vault.owner(vault.secret(name)) for name in names} == set(names)
