"""What a flow and a client can do to the host through a container: on a real engine, nothing."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from flow_manager_docker.settings import CAPABILITIES
from tests.e2e.client import Client
from tests.e2e.service import Service
from tests.security.create_rows import Row, rows_of_form, rows_of_places

pytestmark = [pytest.mark.anyio, pytest.mark.docker]

#: Bits of the capabilities that are left; from linux/capability.h.
NUMBERS = {
    "CHOWN": 0,
    "DAC_OVERRIDE": 1,
    "FOWNER": 3,
    "KILL": 5,
    "SETGID": 6,
    "SETUID": 7,
    "NET_BIND_SERVICE": 10,
}
LEFT = sum(1 << NUMBERS[name] for name in CAPABILITIES)
PIDS = 30
#: Volume roots as no operator would choose them: what is refused is refused by the rules.
ROOTS = ("/etc", "/proc", "/sys", "/dev", "/run", "/var/lib", "/tmp", "/home")


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """The Socket.IO client is asyncio's."""
    return "asyncio"


@pytest.fixture(scope="module")
def service(docker_engine: Any, flow_image: str, tmp_path_factory: Any) -> Iterator[Service]:
    """One service for all."""
    root = tmp_path_factory.mktemp("boxes")
    for name in ("token", "key.pem"):
        (root / name).write_text("secret\n")
        (root / name).chmod(0o600)
    roots = ":".join((*ROOTS, str(root)))
    settings = {"VOLUME_ROOTS": roots, "KEPT_PATHS": str(root / "key.pem")}
    environ = {f"FLOW_MANAGER_{name}": value for name, value in settings.items()}
    environ["FLOW_MANAGER_TOKEN_FILE"] = str(root / "token")
    made = Service(root, "docker", flow_image, docker_engine.url, **environ)
    with made as running:
        yield running


@pytest.fixture
async def client(service: Service) -> AsyncIterator[Client]:
    """A client that leaves no container behind."""
    async with Client(service) as connected:
        yield connected


def engine_folder(service: Service) -> Path:
    """Where the tests' engine has its socket and its data."""
    return Path(service.engine.removeprefix("unix://")).parent


async def faulty(client: Client, row: Row) -> tuple[str, ...]:
    """The fields that the one answer to a create names."""
    payload = {"image": client.service.image, **row.payload}
    answer = await client.ask_raw("create_container", payload)
    if answer.get("error_type") != "validation_error":
        return (f"not refused: {answer}",)
    return tuple(sorted({error["field"] for error in answer["details"]["errors"]}))


async def test_creates_that_must_not_be_are_refused_with_every_faulty_field(
    client: Client, service: Service
) -> None:
    home, engine = service.socket_dir.parent, engine_folder(service)
    kept = [
        *(home, home / "sockets", home / "state", home / "state/records"),
        *(service.root / "token", service.root / "key.pem"),
        *(engine, engine / "docker.sock", engine / "data", engine / "data/containers"),
    ]
    shutil.rmtree(service.root / "data", ignore_errors=True)
    rows = rows_of_form() | rows_of_places(service.root, *(path for path in kept if path.exists()))
    rows |= {
        "bad digest": Row({"image": "python@sha256:xyz"}, ("image",)),
        "more processes than allowed": Row({"resources": {"pids": 513}}, ("resources.pids",)),
    }
    assert len(rows) > 100
    found = {name: await faulty(client, row) for name, row in rows.items()}
    assert found == {name: row.faulty for name, row in rows.items()}
    assert (await client.ask("list_containers"))["count"] == 0


async def test_what_a_user_wants_of_the_host_just_works(client: Client, service: Service) -> None:
    """A folder below the one in which the manager was started; odd names; names that are twins."""
    odd = service.root / "project" / "a, b=c"
    odd.mkdir(parents=True)
    (odd / "given").write_text("x")
    shows = "import os; open('/file').read(); os.listdir('/ro'); open('/data/made', 'w')"
    read_only = {str(odd.parent): {"bind": "/ro", "mode": "ro"}}
    volumes = {str(odd): "/data", str(odd / "given"): "/file", **read_only}
    command = ["python3", "-c", shows]
    for name in ("Twin", "twin"):
        made = await client.create(name=name, command=command, volumes=volumes, start=True)
        await client.event("status_changed", container_id=made, new_state="stopped")
    assert (odd / "made").exists()
    # The manager's log is in the folder: it may be read, not written to.
    ask = {"image": service.image, "command": command}
    answer = await client.ask("create_container", volumes={str(service.root): "/data"}, **ask)
    assert "log" in answer["message"] or "token" in answer["message"]


async def test_code_that_holds_the_managers_secret_is_refused_and_its_log_is_not(
    client: Client, service: Service
) -> None:
    command = ["python3", "-c", "import os; print(os.listdir('.'))"]
    ask = {"image": service.image, "command": command, "code_path": str(service.root)}
    answer = await client.ask("create_container", **ask)
    assert answer["error_type"] == "validation_error"
    assert str(service.root / "token") in answer["message"]
    folder = service.root / "with-log"
    folder.mkdir()
    (service.root / "flow-manager.log").rename(folder / "flow-manager.log")
    try:
        await client.create(command=command, code_path=str(folder))
    finally:
        (folder / "flow-manager.log").rename(service.root / "flow-manager.log")


@pytest.mark.parametrize("user", ["0:0", "1000:1000"])
async def test_a_hostile_program_gets_nowhere(
    client: Client, service: Service, docker_engine: Any, user: str
) -> None:
    neighbour = await client.create(name="neighbour")
    code = service.root / "escape"
    code.mkdir(exist_ok=True)
    shutil.copy(Path(__file__).with_name("escape.py"), code)
    engine = docker_engine.url.removeprefix("unix://")
    digest = hashlib.sha256(f"{engine}\0{service.instance}".encode()).hexdigest()
    told = {
        "neighbour": str(service.socket_dir / "neighbour.sock"),
        "abstract": f"flow-manager-docker/{digest}",
        "host": docker_engine.gateway(),
        "port": int(service.url.rpartition(":")[2]),
        "secret": str(service.root / "token"),
        "engine": engine,
    }
    made = await client.create(
        command=["python3", "escape.py", json.dumps(told)],
        code_path=str(code),
        resources={"pids": PIDS},
        start=True,
        user=user,
    )
    await client.event("socket_connected", container_id=made)
    with anyio.fail_after(30):
        while not (lines := (await client.ask("get_container_logs", container_id=made))["lines"]):
            await anyio.sleep(0.05)
    found = json.loads(lines[-1]["line"])
    tries = found.pop("tries")
    assert len(tries) > 40
    assert {name: became for name, became in tries.items() if became == "done"} == {}
    root = user != "1000:1000"
    assert found == {
        "user": 0 if root else 1000,
        "channel folder": ["flow.sock"],
        "processes": 2,
        "abstract sockets": [],
        "disks": [],
        "no new privileges": "1",
        "bounding set": f"{LEFT:016x}",
        "effective set": f"{LEFT if root else 0:016x}",
        "threads": found["threads"],
    }
    assert found["threads"] < PIDS
    status = await client.ask("get_container_status", container_id=neighbour)
    assert not status["socket_connected"]


async def test_every_container_is_hardened_whatever_a_client_asks(
    client: Client, docker_engine: Any
) -> None:
    made = await client.create(user="0:0", resources={"memory": 64 * 2**20})
    with docker_engine.client() as sdk:
        seen = sdk.inspect_container(made)
    host = seen["HostConfig"]
    assert not host["Privileged"]
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert (host["PidsLimit"], host["OomScoreAdj"]) == (512, 500)
    assert (host["IpcMode"], host["CgroupnsMode"]) == ("private", "private")
    assert (host["PidMode"], host["UTSMode"], host["UsernsMode"]) == ("", "", "")
    assert host["Memory"] == host["MemorySwap"]
    assert host["Devices"] in (None, [])
    assert "/proc/kcore" in host["MaskedPaths"]
    assert "/proc/sys" in host["ReadonlyPaths"]
    assert host["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "3"}
    assert {mount["Propagation"] for mount in seen["Mounts"]} == {"rprivate"}
    assert all(not mount["RW"] for mount in seen["Mounts"])


async def test_the_hosts_network_is_not_joined_by_another_name(
    client: Client, service: Service, docker_engine: Any
) -> None:
    own = os.readlink("/proc/self/ns/net")  # of this kernel, not of a disk
    with docker_engine.client() as sdk:
        (network,) = [one for one in sdk.networks() if one["Name"] == "host"]
    shows = "import os; print(os.readlink('/proc/self/ns/net'))"
    for name in (network["Id"], network["Id"][:12]):
        ask = {"image": service.image, "command": ["python3", "-c", shows], "network": name}
        answer = await client.ask("create_container", start=True, **ask)
        if not answer.get("error"):
            found = await client.ask("get_container_logs", container_id=answer["container_id"])
            assert own not in [line["line"] for line in found["lines"]]
