"""The doctor beside a service that runs: what is well, stuck, crashing, or not connected."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread

from tests.doctor.machine import Examined, Machine
from tests.doctor.test_doctor_faults import leave_socket
from tests.e2e.client import Client
from tests.e2e.conftest import FLOWS
from tests.e2e.service import Service
from tests.support.registry import free_port

pytestmark = pytest.mark.anyio

#: Seconds until a flow that runs without a channel is one that should have it.
GROWN = 0.5
PATIENCE = 20.0
#: Prints what would colour a terminal, and rename its window.
CRASHING = r"print('\x1b[31mno database\x1b]0;mine\x07'); raise SystemExit(3)"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """The Socket.IO client is asyncio's."""
    return "asyncio"


@pytest.fixture(
    scope="module", params=["process", pytest.param("docker", marks=pytest.mark.docker)]
)
def service(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Service]:
    engine, image = "", "python"
    if request.param == "docker":
        engine = request.getfixturevalue("docker_engine").url
        image = request.getfixturevalue("flow_image")
    root = tmp_path_factory.mktemp(request.param)
    shutil.copytree(FLOWS, root / "code", ignore=shutil.ignore_patterns("__pycache__"))
    made = Service(root, request.param, image, engine, FLOW_MANAGER_INSTANCE="default")
    made.port = free_port()
    with made as running:
        yield running


#: What no backend has a part in.
on_processes_alone = pytest.mark.parametrize("service", ["process"], indirect=True)


@pytest.fixture
def ill(service: Service) -> Machine:
    """The service's machine, with the settings that the service has."""
    environ = {"FLOW_MANAGER_TOKEN": service.token}
    if service.engine:
        environ |= {"DOCKER_HOST": service.engine, "DOCKER_CONFIG": str(service.root)}
    options = ["--set", f"reconnect_timeout={GROWN}"]
    return Machine(service.socket_dir.parent, service.backend, service.port, options, environ)


@pytest.fixture
async def client(service: Service) -> AsyncIterator[Client]:
    async with Client(service) as connected:
        yield connected


async def examined(ill: Machine, *options: str) -> Examined:
    return await to_thread.run_sync(ill.examined, *options)


async def complaining(ill: Machine, wanted: set[str]) -> Examined:
    """Examine until these checks complain: what they tell of takes its time."""
    with anyio.fail_after(PATIENCE):
        while (found := await examined(ill)).complaining != wanted:
            await anyio.sleep(0.1)
    return found


async def test_a_machine_with_a_running_service_is_healthy_and_undisturbed(
    ill: Machine, service: Service, client: Client
) -> None:
    flow = await client.running(name="calm", code_path=str(service.root / "code"))
    await client.question(flow, "info")
    await anyio.sleep(GROWN)
    told = len(client.events)
    found = await examined(ill)
    assert (found.code, found.complaining) == (0, set())
    assert {found.status(c) for c in ("channels", "service", "sockets", "journal")} == {"ok"}
    assert "held by our own service" in str(found.body)
    assert "1 running flows are connected" in str(found.body)
    await client.question(flow, "info")
    assert {name for name, _ in client.events[told:]} <= {
        *("activity_log", "message_sent", "message_received", "container_status_update")
    }


async def test_a_flow_that_never_connects_is_named(ill: Machine, client: Client) -> None:
    made = await client.create(
        name="mute", command=client.service.command("-c", "import time; time.sleep(600)")
    )
    await client.ask("start_container", container_id=made)
    found = await complaining(ill, {"channels"})
    (finding,) = found.amiss("channels")
    assert "mute" in finding["found"]
    assert "not connected" in finding["found"]
    assert "Check the container status and the socket file" in finding["remedy"]


async def test_a_crash_loop_is_named_with_the_harmless_tail_of_its_log(
    ill: Machine, client: Client
) -> None:
    made = await client.create(
        name="sick",
        command=client.service.command("-c", CRASHING),
        restart={"policy": "on-crash", "max_attempts": 3},
    )
    await client.ask("start_container", container_id=made)
    await client.event("recovery_gave_up", container_id=made)
    found = await complaining(ill, {"crash-loops"})
    (finding,) = found.amiss("crash-loops")
    assert "crashes again and again" in finding["found"]
    assert "exit code is 3" in finding["found"]
    assert any("no database" in line for line in finding["lines"])
    assert "Check container logs" in finding["remedy"]
    _, text = await to_thread.run_sync(ill.run)
    assert "no database" in text
    assert not [c for c in text if not c.isprintable() and c != "\n"]


async def test_one_crash_is_no_loop(ill: Machine, client: Client) -> None:
    made = await client.create(name="once", command=client.service.command("-c", CRASHING))
    await client.ask("start_container", container_id=made)
    await client.event("container_crashed", container_id=made)
    assert (await examined(ill)).complaining == set()


async def test_mending_takes_what_is_left_over_and_nothing_that_is_in_use(
    ill: Machine, service: Service, client: Client
) -> None:
    flow = await client.running(name="busy", code_path=str(service.root / "code"))
    await client.create(name="resting")
    old = set(service.socket_dir.rglob("*"))
    for path in old:
        os.utime(path, (1, 1), follow_symlinks=False)
    leave_socket(service.socket_dir, "ghost")
    assert (await examined(ill)).complaining == {"sockets"}
    code, text = await to_thread.run_sync(ill.run, "--fix")
    assert (code, text.count("    fixed: removed ")) == (0, 1), text
    assert set(service.socket_dir.rglob("*")) == old
    again = await to_thread.run_sync(ill.run, "--fix")
    assert again[0] == 0
    assert "fixed" not in again[1]
    await client.question(flow, "info")


@on_processes_alone
async def test_a_service_that_hangs_is_named(ill: Machine, service: Service) -> None:
    assert service.process
    service.process.send_signal(signal.SIGSTOP)
    try:
        found = await examined(ill)
    finally:
        service.process.send_signal(signal.SIGCONT)
    assert found.complaining == {"service"}
    (finding,) = found.amiss("service")
    assert f"process {service.process.pid}) does not answer" in finding["found"]
    assert "Restart the Flow Manager service" in finding["remedy"]


@on_processes_alone
async def test_after_a_service_was_killed_its_journal_is_read_and_left_as_it_is(
    ill: Machine, service: Service
) -> None:
    async with Client(service) as client:
        await client.create(name="kept")
        await to_thread.run_sync(service.stop, signal.SIGKILL)
        folder = ill.journal.parent
        before = {path.name: path.read_bytes() for path in _files(folder)}
        found = await examined(ill)
        after = {path.name: path.read_bytes() for path in _files(folder)}
        await to_thread.run_sync(service.start)
        await client.io.disconnect()
        client.io.connected = False
        await client.io.connect(service.url, auth={"token": service.token})
    assert found.complaining == set()
    assert "of 1 containers" in str(found.body)
    assert after == before


def _files(folder: Path) -> list[Path]:
    # The shared memory of SQLite's readers is theirs to write.
    return [p for p in folder.iterdir() if p.is_file() and not p.name.endswith("-shm")]


@on_processes_alone
async def test_the_journal_is_read_while_somebody_writes_it(ill: Machine, client: Client) -> None:
    await client.create(name="noted")
    with closing(sqlite3.connect(ill.journal)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        found = await examined(ill, "--only", "journal")
        writer.rollback()
    assert found.code == 0
    assert "of 1 containers" in str(found.body)
