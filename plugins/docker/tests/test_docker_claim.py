"""One manager for an instance on an engine; the second is turned away."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread
from attrs import evolve

from flow_manager_core.errors import ConfigurationError
from flow_manager_docker.claim import engine_address
from flow_manager_docker.probe import probe
from plugins.docker.tests.workshop import Workshop

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="no abstract sockets"),
]

HOLDS = """
import signal, sys
from flow_manager_core.log import get_log
from flow_manager_docker.claim import claimed
with claimed(sys.argv[1], get_log("test")):
    print("held", flush=True)
    signal.pause()
"""


@pytest.fixture(autouse=True)
def _nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An engine that is away: a claim needs none."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")


async def refused(shop: Workshop) -> str:
    """Open a backend, expecting that it is turned away; why it was."""
    with pytest.raises(ConfigurationError) as caught:
        async with shop.open():
            pytest.fail("two managers of one instance")
    [fault] = caught.value.faults
    assert fault.field == "instance"
    assert "\n" not in fault.message
    return fault.message


async def test_a_second_manager_of_the_instance_is_refused_wherever_its_state_is(
    tmp_path: Path,
) -> None:
    shop = Workshop("any")
    elsewhere = evolve(shop, core=evolve(shop.core, state_dir=tmp_path / "elsewhere"))
    async with shop.open():
        told = await refused(elsewhere)
        assert repr(shop.core.instance) in told
        assert f"{tmp_path}/docker.sock" in told
    async with elsewhere.open():
        await refused(shop)


async def test_instances_do_not_disturb_each_other() -> None:
    shop = Workshop("any")
    async with shop.open(), shop.other().open():
        await refused(shop)
        await refused(shop.other())


async def test_other_engines_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Workshop("any")
    async with shop.open():
        monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
        async with shop.open():
            await refused(shop)


async def test_a_socket_is_the_same_by_any_of_its_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shop = Workshop("any")
    (tmp_path / "link").symlink_to(tmp_path)
    async with shop.open():
        for name in ("link/docker.sock", "link/link/docker.sock", "link/./docker.sock"):
            monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/{name}")
            await refused(shop)


@pytest.fixture
def shop_held_elsewhere() -> Iterator[tuple[Workshop, subprocess.Popen[bytes]]]:
    shop = Workshop("any")
    command = [sys.executable, "-c", HOLDS, shop.core.instance]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout
        assert other.stdout.readline() == b"held\n"
        yield shop, other
        other.kill()


async def test_a_manager_that_was_killed_holds_nothing(
    shop_held_elsewhere: tuple[Workshop, subprocess.Popen[bytes]],
) -> None:
    shop, other = shop_held_elsewhere
    await refused(shop)
    other.kill()
    await to_thread.run_sync(other.wait)
    async with shop.open():
        pass


async def test_an_error_inside_lets_go(no_leaks: Any) -> None:
    shop = Workshop("any")
    with pytest.raises(ZeroDivisionError):
        async with shop.open():
            raise ZeroDivisionError
    async with shop.open():
        pass


async def test_looking_whether_docker_is_there_claims_nothing() -> None:
    shop = Workshop("any")
    context: Any = shop.core
    async with shop.open():
        assert "not available" in str(await probe(context))
    await probe(context)
    async with shop.open():
        pass


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("", str(Path("/var/run").resolve() / "docker.sock")),
        ("unix:///no/such/../docker.sock", "/no/docker.sock"),
        ("tcp://127.0.0.1:2375", "http://127.0.0.1:2375"),
        ("garbage://x", "garbage://x"),
    ],
)
def test_the_engines_address(host: str, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    assert engine_address() == address
