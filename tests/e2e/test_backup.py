"""Backup and restore as recovery: back up, destroy, restore, compare."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread

from tests.chaos.manager import Manager
from tests.e2e.client import Client
from tests.e2e.trees import make, show
from tests.support.engine import DockerEngine, missing
from tests.support.images import debian_tar
from tests.support.restartable_engine import RestartableEngine

pytestmark = pytest.mark.anyio

FLOWS = Path(__file__).parent / "flows"
IMAGE = "flow-manager-test/keeper:1"
CHANGES = ["ENV GREETING='hello there'", "VOLUME /cache", "WORKDIR /job", 'CMD ["python3"]']
#: Where the flow keeps state: its image's file system, a volume of the host's, one of the image's,
#: and its code.
ROOTS = ("/srv/state", "/data", "/cache", "/job")
PATIENCE = 30.0
#: Bytes, which with its image make a container of 200 MB.
BIG = 140 * 1024 * 1024
GROW = f"""
with open("/big", "wb") as file:
    for _ in range({BIG >> 20}):
        file.write(bytes(1 << 20))
"""


def prepare_image(engine: DockerEngine) -> None:
    """Have the engine know an image with variables and a volume of its own."""
    with engine.client() as client:
        if not client.images(IMAGE):
            repository, _, tag = IMAGE.rpartition(":")
            client.import_image_from_file(
                str(debian_tar()), repository=repository, tag=tag, changes=CHANGES
            )


def remove_image(engine: DockerEngine) -> None:
    with engine.client() as client:
        if client.images(IMAGE):
            client.remove_image(IMAGE, force=True)


def images_of(engine: DockerEngine) -> set[str]:
    with engine.client() as client:
        return {tag for image in client.images() for tag in image["RepoTags"] or ()}


@pytest.fixture(scope="module")
def manager(docker_engine: DockerEngine, tmp_path_factory: Any) -> Iterator[Manager]:
    root = tmp_path_factory.mktemp("backup")
    shutil.copytree(FLOWS, root / "code", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "data").mkdir()
    prepare_image(docker_engine)
    with Manager(root, "docker", IMAGE, docker_engine.url) as running:
        yield running
    remove_image(docker_engine)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Manager]:
    """A manager with an engine that knows no image, as on another host."""
    if not RestartableEngine.possible():
        missing("no second engine can be started (root, dockerd, unshare and nsenter)")
    (tmp_path / "data").mkdir()
    with RestartableEngine(tmp_path) as engine:
        engine.start()
        with Manager(tmp_path, "docker", IMAGE, engine.url) as running:
            yield running


@pytest.fixture
async def client(manager: Manager) -> AsyncIterator[Client]:
    async with Client(manager) as connected:
        yield connected


async def keeper(client: Client, manager: Manager, **more: Any) -> str:
    """A flow with a volume of the host's, that answers."""
    asked = {
        "command": manager.command("keeper.py"),
        "code_path": str(manager.root / "code"),
        "environment": {"OWN": "a secret", "EMPTY": ""},
        "labels": {"team": "keepers"},
        "resources": {"memory": 128 * 1024 * 1024},
        "ports": {"8080": 0},
        **more,
    }
    return await client.running(**asked)


async def told(client: Client, container_id: str, program: str) -> Any:
    return await client.question(container_id, "run", program)


ABOUT = """
import os
result = [os.environ.get("GREETING"), os.environ["OWN"], os.environ["EMPTY"], os.getcwd(),
          os.path.exists("/bin/tar"), open("/srv/state/plain").read()]
"""


async def until(check: Callable[[], Awaitable[Any]]) -> Any:
    with anyio.fail_after(PATIENCE):
        while not (found := await check()):
            await anyio.sleep(0.01)
        return found


async def restored(client: Client, **asked: Any) -> str:
    """Restore and start; wait for the channel."""
    made = await client.ask("restore_container", start=True, **asked)
    assert not made.get("error"), made
    await client.event("socket_connected", container_id=made["container_id"])
    return str(made["container_id"])


def archive_of(manager: Manager, path: str) -> Path:
    return manager.state_dir / "backups" / path


@pytest.mark.docker
async def test_a_destroyed_flow_answers_with_its_state_here_and_on_a_host_without_its_image(
    client: Client, manager: Manager, docker_engine: DockerEngine, elsewhere: Manager
) -> None:
    data = manager.root / "data"
    others = await to_thread.run_sync(images_of, docker_engine)
    first = await keeper(client, manager, name="kept", volumes={str(data): "/data"})
    for root in ("/srv/state", "/data", "/cache", "/job/own"):
        await told(client, first, make(root))
    await told(client, first, "import os; os.remove('/bin/tar')")
    files, about = await told(client, first, show(*ROOTS)), await told(client, first, ABOUT)
    assert all(len(tree) > 10 for tree in files)
    assert about == ["hello there", "a secret", "", "/job", False, "text"]

    answer = await client.ask("backup_container", container_id=first, path="kept.tar")
    assert [part["target"] for part in answer["parts"]] == ["", "/cache", "/data"]
    assert await told(client, first, ABOUT) == about

    await client.ask("delete_container", container_id=first)
    empty(data)
    await to_thread.run_sync(remove_image, docker_engine)

    second = await restored(client, path="kept.tar")
    assert await told(client, second, show(*ROOTS)) == files
    assert await told(client, second, ABOUT) == about
    status = await client.ask("get_container_status", container_id=second)
    assert status["name"] == "kept"

    # A volume that holds something is not written over, and nothing is left of the attempt.
    before = await to_thread.run_sync(images_of, docker_engine)
    refused = await client.ask("restore_container", path="kept.tar", name="third")
    assert refused["error_type"] == "validation_error"
    assert "is not empty" in refused["message"]
    assert await to_thread.run_sync(images_of, docker_engine) == before
    listed = await client.ask("list_containers")
    assert [entry["name"] for entry in listed["containers"]] == ["kept"]
    assert await told(client, second, show(*ROOTS)) == files

    # What was restored can be saved again, and restored where nothing of it ever was.
    await client.ask("backup_container", container_id=second, path="again.tar")
    await client.ask("delete_container", container_id=second)
    assert not await to_thread.run_sync(images_of, docker_engine) - others
    place = archive_of(elsewhere, "brought.tar")
    place.parent.mkdir()
    await to_thread.run_sync(shutil.copyfile, archive_of(manager, "again.tar"), place)
    async with Client(elsewhere) as there:
        volumes = {str(data): str(elsewhere.root / "data")}
        made = await restored(there, path="brought.tar", name="moved", volumes=volumes)
        assert await told(there, made, show(*ROOTS)) == files
        assert await told(there, made, ABOUT) == about
    assert (elsewhere.root / "data" / "plain").read_bytes() == b"text"
    assert not await to_thread.run_sync(images_of, DockerEngine(elsewhere.engine))
    empty(data)


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


@pytest.mark.docker
async def test_a_kill_during_a_backup_leaves_no_halted_flow_and_a_kill_during_a_restore_nothing(
    manager: Manager, docker_engine: DockerEngine
) -> None:
    await to_thread.run_sync(prepare_image, docker_engine)

    async def paused() -> bool:
        return await to_thread.run_sync(_state, docker_engine, "big") == "paused"

    async with Client(manager) as client:
        first = await keeper(client, manager, name="big")
        client._made.clear()  # nobody is there to delete it when this client leaves
        await told(client, first, GROW)
        await client.io.emit("backup_container", {"container_id": first, "path": "big.tar"})
        await until(paused)
        await to_thread.run_sync(manager.kill)
    assert await paused()
    assert list(archive_of(manager, ".").glob(".*.part"))
    await to_thread.run_sync(manager.start)
    async with Client(manager) as again:
        assert await until(lambda: _answers(again, first))
        await until(lambda: _gone(manager, ".*.part"))
        assert not archive_of(manager, "big.tar").exists()
        grown = await _peak_of_a_backup(again, manager, first)
        assert grown < 50 * 1024 * 1024, f"the manager grew by {grown} bytes"
        print(f"the manager grew by {grown / 1024 / 1024:.1f} MiB")

        await again.io.emit("restore_container", {"path": "big.tar", "name": "other"})
        await until(lambda: _progress(again, "restore:filesystem"))
        await to_thread.run_sync(manager.kill)
    await to_thread.run_sync(manager.start)
    async with Client(manager) as last:
        await until(lambda: _nothing_left(manager, docker_engine))
        listed = await last.ask("list_containers")
        assert [entry["name"] for entry in listed["containers"]] == ["big"]
        assert archive_of(manager, "big.tar").stat().st_size > BIG
        await last.ask("delete_container", container_id=first)


def _state(engine: DockerEngine, name: str) -> str:
    with engine.client() as sdk:
        return str(sdk.inspect_container(name)["State"]["Status"])


async def _answers(client: Client, container_id: str) -> bool:
    message = {"command": "run", "data": "result = 'here'"}
    answer = await client.ask(
        "send_message", container_id=container_id, message=message, reply=True, timeout=5
    )
    return "error" not in answer and answer["reply"]["data"] == "here"


async def _gone(manager: Manager, pattern: str) -> bool:
    return not list(archive_of(manager, ".").glob(pattern))


async def _progress(client: Client, phase: str) -> bool:
    return any(
        name == "backup_progress" and body["phase"] == phase and body["current"] > 0
        for name, body in client.events
    )


async def _nothing_left(manager: Manager, engine: DockerEngine) -> bool:
    images = await to_thread.run_sync(images_of, engine)
    names = {path.name for path in manager.socket_dir.iterdir()}
    return not [tag for tag in images if "restored" in tag] and not any(
        name.startswith("other") for name in names
    )


async def _peak_of_a_backup(client: Client, manager: Manager, container_id: str) -> int:
    """Bytes by which the manager's memory grows at most."""
    proc = Path(f"/proc/{manager.pid}")
    (proc / "clear_refs").write_text("5")
    before = _peak(proc)
    answer = await client.ask("backup_container", container_id=container_id, path="big.tar")
    assert not answer.get("error"), answer
    assert answer["size"] > BIG
    return _peak(proc) - before


def _peak(proc: Path) -> int:
    (line,) = [li for li in (proc / "status").read_text().splitlines() if li.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


@pytest.fixture(scope="module")
def process_manager(tmp_path_factory: Any) -> Iterator[Manager]:
    root = tmp_path_factory.mktemp("backup-process")
    shutil.copytree(FLOWS, root / "code", ignore=shutil.ignore_patterns("__pycache__"))
    with Manager(root, "process", "python") as running:
        yield running


async def test_a_destroyed_process_answers_with_its_state(process_manager: Manager) -> None:
    manager = process_manager
    async with Client(manager) as client:
        first = await client.running(
            command=["keeper.py"],
            code_path=str(manager.root / "code"),
            name="kept",
            environment={"OWN": "a secret"},
        )
        await told(client, first, make("own"))
        files = await told(client, first, show("."))
        await client.ask("backup_container", container_id=first, path="kept.tar")
        await client.ask("delete_container", container_id=first)
        second = await restored(client, path="kept.tar")
        assert await told(client, second, show(".")) == files
        own = "import os; result = os.environ['OWN']"
        assert await told(client, second, own) == "a secret"


@pytest.mark.skipif(shutil.which("mount") is None, reason="there is no mount")
async def test_a_full_disk_is_named_and_nothing_is_left(
    process_manager: Manager, tmp_path: Path
) -> None:
    manager = process_manager
    small = archive_of(manager, "small")
    small.mkdir(parents=True)
    await anyio.run_process(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(small)])
    try:
        async with Client(manager) as client:
            first = await client.running(
                command=["keeper.py"], code_path=str(manager.root / "code")
            )
            await told(client, first, "import os; open('big', 'wb').write(os.urandom(5000000))")
            answer = await client.ask("backup_container", container_id=first, path="small/x.tar")
            assert answer["error_type"] == "system_error"
            assert "No space left on device" in answer["message"]
            assert list(small.iterdir()) == []
            assert await told(client, first, "result = 'here'") == "here"
    finally:
        await anyio.run_process(["umount", str(small)])
