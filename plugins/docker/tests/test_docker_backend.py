"""What containers of the Docker backend are, on a real engine."""

from __future__ import annotations

import time
import urllib.request
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread
from attrs import evolve

from flow_manager_core.errors import ContainerNotFound, InvalidRequest
from flow_manager_core.models import (
    Attachment,
    ContainerState,
    Mount,
    PortMapping,
    Resources,
)
from flow_manager_docker import DockerBackend
from plugins.docker.tests.workshop import STUBBORN, Workshop, until

pytestmark = [pytest.mark.anyio, pytest.mark.docker]

SERVES = "import http.server as h; h.test(h.SimpleHTTPRequestHandler, port=8000)"
EATS = "b = []\nwhile True: b.append(bytes(4 * 1024 * 1024))"


async def test_a_published_port_is_told_and_reached_on_loopback_alone(
    backend: DockerBackend, shop: Workshop, sdk: Any
) -> None:
    plan = shop.script("web", SERVES, ports=(PortMapping(8000, 0),))
    made = await backend.create(plan)
    assert made.ports == (PortMapping(8000, 0),)
    await backend.start(made.id)
    (port,) = (await backend.inspect(made.id)).ports
    assert port.host_port > 0

    async def answered() -> bool:
        url = f"http://127.0.0.1:{port.host_port}/"
        try:
            return await to_thread.run_sync(lambda: _status(url)) == 200
        except OSError:
            return False

    await until(answered)
    bound = sdk.inspect_container(made.id)["NetworkSettings"]["Ports"]["8000/tcp"]
    assert {b["HostIp"] for b in bound} == {"127.0.0.1"}


def _status(url: str) -> int:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return int(answer.status)


async def test_volumes_and_the_channels_folder_are_mounted(
    backend: DockerBackend, shop: Workshop, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "channel").mkdir()
    code = (
        "open('/data/out', 'w').write('x')\n"
        "try: open('/run/flow/planted', 'w')\n"
        "except OSError as e: print(e.errno)"
    )
    channel = Attachment({}, (Mount(str(tmp_path / "channel"), "/run/flow", read_only=True),))
    plan = shop.script(
        "a", code, volumes=(Mount(str(tmp_path / "in"), "/data"),), attachment=channel
    )
    assert await shop.output(backend, plan) == ["30"]
    assert (tmp_path / "in" / "out").read_text() == "x"
    assert not list((tmp_path / "channel").iterdir())


async def test_a_program_cannot_gain_privileges(backend: DockerBackend, shop: Workshop) -> None:
    code = "print([l.split()[1] for l in open('/proc/self/status') if l[:4] in ('CapB', 'NoNe')])"
    (line,) = await shop.output(backend, shop.script("a", code))
    # CHOWN 0, DAC_OVERRIDE 1, FOWNER 3, KILL 5, SETGID 6, SETUID 7, NET_BIND_SERVICE 10.
    assert line == f"['{0b100_1110_1011:016x}', '1']"


async def test_user_and_working_directory_are_honoured(
    backend: DockerBackend, shop: Workshop
) -> None:
    plan = shop.script(
        "a", "import os; print(os.getuid(), os.getgid(), os.getcwd())", user="7:8", working_dir="/w"
    )
    assert await shop.output(backend, plan) == ["7 8 /w"]


async def test_limits_hold_and_a_kill_for_memory_is_told(
    backend: DockerBackend, shop: Workshop, sdk: Any
) -> None:
    limits = Resources(memory=32 * 1024 * 1024, cpus=0.5, pids=20)
    made = await backend.create(shop.script("a", EATS, resources=limits))
    await backend.start(made.id)
    seen = await shop.ended(backend, made.id)
    assert (seen.exit_code, seen.oom_killed) == (137, True)
    host = sdk.inspect_container(made.id)["HostConfig"]
    assert (host["Memory"], host["NanoCpus"], host["PidsLimit"]) == (2**25, 500_000_000, 20)


async def test_the_engine_itself_restarts_nothing(backend: DockerBackend, shop: Workshop) -> None:
    made = await backend.create(shop.script("a", "raise SystemExit(3)"))
    await backend.start(made.id)
    seen = await shop.ended(backend, made.id)
    assert (seen.state, seen.exit_code) == (ContainerState.EXITED, 3)


async def test_a_program_that_handles_no_signal_is_stopped_at_once(
    backend: DockerBackend, shop: Workshop
) -> None:
    made = await shop.running(backend, shop.plan("a"))
    began = time.monotonic()
    await backend.stop(made, 30.0)
    assert time.monotonic() - began < 10
    assert (await backend.inspect(made)).exit_code == 143


async def test_process_1_that_ignores_the_signal_is_killed(shop: Workshop) -> None:
    async with shop.open(init=False) as backend:
        made = await shop.running(backend, shop.plan("a", *STUBBORN))
        await backend.stop(made, 1.0)
        assert (await backend.inspect(made)).exit_code == 137
        await backend.remove(made)


async def test_a_container_paused_from_outside_is_told(
    backend: DockerBackend, shop: Workshop, sdk: Any
) -> None:
    made = await shop.running(backend, shop.plan("a"))
    sdk.pause(made)
    assert (await backend.inspect(made)).state is ContainerState.PAUSED
    await backend.remove(made)


async def test_containers_that_are_not_ours_do_not_exist(
    backend: DockerBackend, shop: Workshop, sdk: Any
) -> None:
    foreign = sdk.create_container_from_config({"Image": shop.image, "Cmd": ["python3"]})["Id"]
    try:
        assert foreign not in {c.id for c in await backend.list()}
        for method in (backend.inspect, backend.start, backend.remove, backend.usage):
            with pytest.raises(ContainerNotFound):
                await method(foreign)
        with pytest.raises(ContainerNotFound):
            await backend.stop(foreign, 1.0)
        with pytest.raises(ContainerNotFound):
            await backend.logs(foreign, tail=None, since=None)
        assert sdk.inspect_container(foreign)["State"]["Status"] == "created"
    finally:
        sdk.remove_container(foreign, force=True)


async def test_two_instances_do_not_see_each_other(backend: DockerBackend, shop: Workshop) -> None:
    other = shop.other()
    async with other.open() as theirs:
        made = await theirs.create(other.plan("a"))
        ours = await backend.create(shop.plan("a"))
        assert [c.id for c in await backend.list()] == [ours.id]
        assert [c.id for c in await theirs.list()] == [made.id]
        with pytest.raises(ContainerNotFound):
            await backend.remove(made.id)
        await theirs.remove(made.id)


async def test_code_does_not_go_where_the_image_keeps_a_volume(
    backend: DockerBackend, shop: Workshop, sdk: Any
) -> None:
    name = f"flow-manager-test/{shop.core.instance}:1"
    base = sdk.create_container_from_config({"Image": shop.image})["Id"]
    sdk.commit(base, *name.split(":"), changes="VOLUME /srv/app/data\nWORKDIR /srv/app")
    try:
        plan = evolve(shop.plan("a", code_path="/code"))
        plan = evolve(plan, spec=evolve(plan.spec, image=name))
        with pytest.raises(InvalidRequest, match="/srv/app"):
            await backend.create(plan)
        assert not await backend.list()
    finally:
        sdk.remove_container(base)
        sdk.remove_image(name)


async def test_slow_stops_do_not_hold_up_other_calls(
    backend: DockerBackend, shop: Workshop
) -> None:
    made = [await shop.running(backend, shop.plan(f"n{n}", *STUBBORN)) for n in range(12)]
    idle = (await backend.create(shop.plan("idle"))).id
    ended: list[str] = []

    async def stop(container_id: str) -> None:
        await backend.stop(container_id, 5.0)
        ended.append(container_id)

    async with anyio.create_task_group() as tasks:
        for container_id in made:
            tasks.start_soon(stop, container_id)
        await anyio.sleep(0.5)
        for _ in range(20):
            await backend.inspect(idle)
        await backend.start(idle)
        assert not ended
    assert len(ended) == 12


async def test_a_backend_leaves_nothing_open(
    no_leaks: Any, shop: Workshop, anyio_backend_name: str
) -> None:
    async with shop.open() as backend, backend.watch():
        made = await shop.running(backend, shop.plan("a"))
        await backend.remove(made)
