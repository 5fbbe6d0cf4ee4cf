"""Commands in running containers, and the way to their ports."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import anyio
import pytest

from flow_manager_core.errors import ContainerNotFound, EngineError
from flow_manager_docker import DockerBackend
from flow_manager_docker.addresses import address_of
from plugins.docker.tests.workshop import Workshop

pytestmark = pytest.mark.anyio

on_an_engine = pytest.mark.docker


def processes_of(container_id: str) -> list[str]:
    """The command lines of a container's processes, as the host sees them."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and container_id in (process / "cgroup").read_text():
                found.append((process / "cmdline").read_text().replace("\0", " ").strip())
        except OSError:
            continue
    return found


@on_an_engine
async def test_a_command_gives_its_code_and_what_it_wrote(
    backend: DockerBackend, shop: Workshop
) -> None:
    made = await shop.running(backend, shop.plan("a"))
    script = "import os, sys; print('out'); print(os.environ['X'], file=sys.stderr); sys.exit(3)"
    other = await shop.running(backend, shop.plan("b", environment={"X": "its variable"}))
    done = await backend.run_command(other, ["python3", "-c", script], 10)
    assert done.code == 3
    assert set(done.output.split("\n")) == {"out", "its variable", ""}
    assert (await backend.run_command(made, ["python3", "-c", ""], 10)).code == 0


@on_an_engine
async def test_a_command_that_is_not_there_is_told_by_its_code(
    backend: DockerBackend, shop: Workshop
) -> None:
    made = await shop.running(backend, shop.plan("a"))
    done = await backend.run_command(made, ["no-such-program"], 10)
    assert done.code in (126, 127)
    assert "no-such-program" in done.output


@on_an_engine
async def test_a_command_over_its_time_is_killed_with_all_that_it_began(
    backend: DockerBackend, shop: Workshop
) -> None:
    made = await shop.running(backend, shop.plan("a"))
    inner = "import time; time.sleep(71)"
    script = (
        f"import subprocess, time; subprocess.Popen(['python3', '-c', {inner!r}]); time.sleep(72)"
    )
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        await backend.run_command(made, ["python3", "-c", script], 1)
    assert time.monotonic() - began < 10
    left = [line for line in processes_of(made) if "time.sleep(7" in line]
    assert left == []
    assert (await backend.run_command(made, ["python3", "-c", ""], 10)).code == 0


@on_an_engine
async def test_a_command_that_writes_without_end_is_bounded_in_time_and_memory(
    backend: DockerBackend, shop: Workshop
) -> None:
    made = await shop.running(backend, shop.plan("a"))
    with pytest.raises(TimeoutError):
        await backend.run_command(made, ["python3", "-c", "while True: print('y' * 1000)"], 0.5)
    done = await backend.run_command(made, ["python3", "-c", "print('z' * 100_000)"], 10)
    assert len(done.output) == 4096


@on_an_engine
async def test_commands_are_for_running_containers_of_ours(
    backend: DockerBackend, shop: Workshop
) -> None:
    made = await backend.create(shop.plan("a"))
    with pytest.raises(EngineError):
        await backend.run_command(made.id, ["python3", "-c", ""], 5)
    with pytest.raises(ContainerNotFound):
        await backend.run_command("0" * 64, ["python3", "-c", ""], 5)
    with pytest.raises(ContainerNotFound):
        await backend.address("0" * 64, 80)


@on_an_engine
async def test_a_containers_port_is_reached_by_the_engines_network(
    backend: DockerBackend, shop: Workshop, docker_engine: Any
) -> None:
    if not docker_engine.url.startswith("unix://"):
        pytest.skip("the engine is on another host")
    serve = "import http.server; http.server.test(port=8099, bind='0.0.0.0')"
    made = (await backend.create(shop.script("a", serve))).id
    await backend.start(made)
    host, port = await backend.address(made, 8099)
    assert port == 8099
    with anyio.fail_after(10):
        while True:
            try:
                async with await anyio.connect_tcp(host, port):
                    return
            except OSError:
                await anyio.sleep(0.02)


def told(**network: Any) -> dict[str, Any]:
    return {
        "Id": "a" * 64,
        "HostConfig": {"NetworkMode": network.pop("mode", "bridge")},
        "NetworkSettings": {"Networks": None, "Ports": None, **network},
    }


BRIDGE = {"bridge": {"IPAddress": "172.17.0.2"}}
PUBLISHED = {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "32768"}]}


@pytest.mark.parametrize(
    ("found", "engine", "expected"),
    [
        (told(Networks=BRIDGE), "", ("172.17.0.2", 80)),
        (told(mode="host"), "", ("127.0.0.1", 80)),
        (told(Networks={"none": {"IPAddress": ""}}, Ports=PUBLISHED), "", ("127.0.0.1", 32768)),
        (told(Networks=BRIDGE, Ports=PUBLISHED), "far.test", ("far.test", 32768)),
    ],
)
def test_the_way_to_a_port(found: Any, engine: str, expected: tuple[str, int]) -> None:
    assert address_of(found, 80, engine) == expected


@pytest.mark.parametrize("engine", ["", "far.test"])
def test_a_port_without_a_way_is_named(engine: str) -> None:
    networks = BRIDGE if engine else {}
    with pytest.raises(EngineError, match="Port 81"):
        address_of(told(Networks=networks, Ports=PUBLISHED), 81, engine)
