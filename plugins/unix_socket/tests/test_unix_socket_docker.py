"""Inside a real container: a flow can connect, and can do nothing else to its channel."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import docker
import pytest
from anyio import to_thread
from anyio.abc import ByteStream

from flow_manager_core.log import get_log
from flow_manager_core.models import Attachment
from flow_manager_core.providers import ProviderContext
from flow_manager_core.settings import Settings
from flow_manager_unix_socket.settings import UnixSocketSettings
from flow_manager_unix_socket.transport import unix_socket_transport

pytestmark = [pytest.mark.anyio, pytest.mark.docker]

TRIES = r"""
import json, os, socket, sys

path = os.environ["FLOW_SOCKET"]
folder = os.path.dirname(path)

def attempt(action):
    try:
        return action() or "done"
    except OSError as error:
        return os.strerror(error.errno)

def talk():
    with socket.socket(socket.AF_UNIX) as flow:
        flow.connect(path)
        flow.sendall(b"hello")
        return flow.recv(100).decode()

def bind():
    with socket.socket(socket.AF_UNIX) as trap:
        trap.bind(folder + "/trap.sock")

print(json.dumps({
    "user": os.getuid(),
    "seen": sorted(os.listdir(folder)),
    "connect": attempt(talk),
    "unlink": attempt(lambda: os.unlink(path)),
    "rename": attempt(lambda: os.rename(path, path + ".old")),
    "create": attempt(lambda: open(folder + "/new", "w")),
    "symlink": attempt(lambda: os.symlink("/etc", folder + "/link")),
    "bind": attempt(bind),
    "chmod": attempt(lambda: os.chmod(path, 0o600)),
    "chmod folder": attempt(lambda: os.chmod(folder, 0o777)),
    "connect again": attempt(talk),
}))
"""
READ_ONLY = "Read-only file system"


def tries(engine: Any, image: str, attachment: Attachment, user: str) -> object:
    volumes = {
        mount.source: {"bind": mount.target, "mode": "ro" if mount.read_only else "rw"}
        for mount in attachment.mounts
    }
    with closing(docker.DockerClient(base_url=engine.url, timeout=60)) as client:
        output = client.containers.run(
            image,
            ["python3", "-c", TRIES],
            user=user,
            environment=dict(attachment.environment),
            volumes=volumes,
            remove=True,
        )
    return json.loads(output)


async def shout(stream: ByteStream) -> None:
    async for piece in stream:
        await stream.send(piece.upper())


@pytest.mark.parametrize("user", ["1000:1000", "0:0"])
async def test_a_flow_connects_and_can_change_nothing_in_its_folder(
    docker_engine: Any, flow_image: str, tmp_path: Path, user: str
) -> None:
    context = ProviderContext(
        settings=UnixSocketSettings(),
        core=Settings(socket_dir=tmp_path / "private/sockets"),
        log=get_log("transport.unix_socket"),
    )
    async with unix_socket_transport(context) as transport:
        await transport.open("neighbour", shout)
        endpoint = await transport.open("flow", shout)
        attachment = endpoint.attachment(isolated=True)
        with anyio.fail_after(60):
            found = await to_thread.run_sync(tries, docker_engine, flow_image, attachment, user)
    assert found == {
        "user": int(user.partition(":")[0]),
        "seen": ["flow.sock"],
        "connect": "HELLO",
        "connect again": "HELLO",
        **dict.fromkeys(["unlink", "rename", "create", "symlink", "bind"], READ_ONLY),
        **dict.fromkeys(["chmod", "chmod folder"], READ_ONLY),
    }
