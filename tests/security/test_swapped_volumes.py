"""A volume's source that is exchanged between check and use: on a real engine, in every order."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from attrs import evolve

from flow_manager_core import FlowManager, PluginHost, Settings
from flow_manager_core.contracts import ContainerBackend
from flow_manager_core.errors import EngineError, InvalidRequest, VolumeRefused
from flow_manager_core.events import ContainerCrashed, Event, RecoveryGaveUp
from flow_manager_core.providers import ProviderContext
from flow_manager_docker import DockerBackend
from flow_manager_docker.plugin import PROVIDER

pytestmark = [pytest.mark.anyio, pytest.mark.docker]

SLEEPS = ["python3", "-c", "import time; time.sleep(600)"]
#: Exchanges its neighbour's folder for a link, and back, as fast as it can.
SWAPS = """
import os
os.chdir('/shared')
os.symlink('/etc', 'link')
print('ready', flush=True)
while True:
    os.rename('sub', 'real')
    os.rename('link', 'sub')
    os.rename('sub', 'link')
    os.rename('real', 'sub')
"""


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One loop: the manager's part of it is tried on both in memory."""
    return "asyncio"


class Stage:
    """A manager whose engine's starts can be preceded by a deed of an attacker."""

    def __init__(self, root: Path, image: str) -> None:
        self.shared = root / "shared"
        self.source = self.shared / "sub"
        self.source.mkdir(parents=True)
        self.image = image
        self.before_start: Callable[[], None] = lambda: None
        self.told: list[Event] = []
        self.engine: ContainerBackend
        settings = Settings(
            instance=f"swap-{os.getpid()}",
            volume_roots=(root,),
            state_dir=root / "state",
            socket_dir=root / "s",
            journal="memory",
        )
        self.manager = FlowManager(
            settings, host=PluginHost(), backend=evolve(PROVIDER, factory=self._open)
        )

    @asynccontextmanager
    async def _open(self, context: ProviderContext) -> AsyncIterator[ContainerBackend]:
        stage = self

        class Outrun(DockerBackend):
            async def start(self, container_id: str) -> None:
                stage.before_start()
                await super().start(container_id)

        async with Outrun.open(context) as self.engine:
            yield self.engine

    def plant(self) -> None:
        """Put a link to the host's settings in the place of the volume."""
        if not self.source.is_symlink():
            self.source.rename(self.shared / "real")
            self.source.symlink_to("/etc")

    def put_back(self) -> None:
        if self.source.is_symlink():
            self.source.unlink()
            (self.shared / "real").rename(self.source)

    async def ask(self, request: str, /, **payload: Any) -> dict[str, Any]:
        return dict(await self.manager.execute(request, payload))

    async def state(self, container_id: str) -> str:
        seen = await self.ask("get_container_status", container_id=container_id)
        return str(seen["state"])

    async def create(self, name: str, *command: str, **more: Any) -> str:
        volumes = more.pop("volumes", {str(self.source): "/data"})
        payload = {"command": list(command) or SLEEPS, "volumes": volumes, "stop_timeout": 0}
        made = await self.ask("create_container", image=self.image, name=name, **payload, **more)
        return str(made["container_id"])

    async def listen(self, *, task_status: Any = anyio.TASK_STATUS_IGNORED) -> None:
        async with self.manager.subscribe() as events:
            task_status.started()
            async for event in events:
                self.told.append(event)

    async def event(self, kind: type[Event]) -> Any:
        with anyio.fail_after(20):
            while not (found := [one for one in self.told if isinstance(one, kind)]):
                await anyio.sleep(0.01)
        return found[0]


@pytest.fixture
async def stage(
    docker_env: Any, flow_image: str, tmp_path: Path, tmp_path_factory: Any
) -> AsyncIterator[Stage]:
    """A stage that leaves no container behind."""
    made = Stage(tmp_path_factory.mktemp("s"), flow_image)
    async with anyio.create_task_group() as group, made.manager:
        await group.start(made.listen)
        yield made
        made.before_start = lambda: None
        for one in (await made.ask("list_containers"))["containers"]:
            await made.ask("delete_container", container_id=one["id"])
        group.cancel_scope.cancel()


async def test_a_source_that_leads_elsewhere_after_the_create_is_not_started(stage: Stage) -> None:
    made = await stage.create("victim", "python3", "-c", "open('/data/x', 'w')")
    stage.plant()
    with pytest.raises(VolumeRefused, match="/etc") as caught:
        await stage.ask("start_container", container_id=made)
    assert caught.value.error_type == "docker_api_error"
    assert not caught.value.retryable
    assert await stage.state(made) == "created"
    stage.put_back()
    await stage.ask("start_container", container_id=made)
    with anyio.fail_after(20):
        while await stage.state(made) != "stopped":
            await anyio.sleep(0.01)
    assert (stage.source / "x").exists()


async def test_a_source_exchanged_between_the_check_and_the_start_ends_the_run(
    stage: Stage,
) -> None:
    made = await stage.create("victim", restart={"policy": "always"})
    stage.before_start = stage.plant
    with pytest.raises(VolumeRefused, match="/data was /etc"):
        await stage.ask("start_container", container_id=made)
    assert await stage.state(made) == "stopped"
    # Not even if the link is gone by the time of the look.
    stage.put_back()
    start = type(stage.engine).__mro__[1].start

    async def hit_and_run(container_id: str) -> None:
        stage.plant()
        await start(stage.engine, container_id)
        stage.put_back()

    stage.engine.start = hit_and_run  # type: ignore[method-assign]
    with pytest.raises(VolumeRefused, match="/data was /etc"):
        await stage.ask("start_container", container_id=made)
    assert await stage.state(made) == "stopped"
    assert not [one for one in stage.told if isinstance(one, ContainerCrashed)]


@pytest.mark.parametrize("outrun", [False, True], ids=["before", "between"])
async def test_recovery_leaves_a_container_ended_whose_volume_was_exchanged(
    stage: Stage, outrun: bool
) -> None:
    dies = "import os, time\nwhile not os.path.exists('/data/die'): time.sleep(0.01)\nos._exit(3)"
    made = await stage.create(
        "victim",
        "python3",
        "-c",
        dies,
        start=True,
        restart={"policy": "always", "first_delay": 0.01},
    )
    if outrun:
        stage.before_start = stage.plant
        (stage.source / "die").touch()
    else:
        (stage.source / "die").touch()
        stage.plant()
    gave_up = await stage.event(RecoveryGaveUp)
    assert "/etc" in gave_up.reason
    stage.before_start = lambda: pytest.fail("it was started again")
    await stage.manager.health()
    assert await stage.state(made) in ("stopped", "exited")


def mounted_at(pid: int, target: str) -> str:
    """The place in its file system of what a process has mounted."""
    mounts = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
    (root,) = [line.split()[3] for line in mounts if line.split()[4] == target]
    return root


async def test_an_attacker_in_the_next_container_gains_nothing_by_exchanging_as_fast_as_it_can(
    stage: Stage, docker_engine: Any
) -> None:
    attacker = await stage.create(
        "attacker", "python3", "-c", SWAPS, start=True, volumes={str(stage.shared): "/shared"}
    )
    with anyio.fail_after(20):
        while not (await stage.ask("get_container_logs", container_id=attacker))["lines"]:
            await anyio.sleep(0.01)
    outcomes = []
    for number in range(8):
        try:
            made = await stage.create(f"victim-{number}", start=True)
        except (EngineError, InvalidRequest) as error:
            outcomes.append(error.error_type)
            continue
        with docker_engine.client() as sdk:
            pid = sdk.inspect_container(made)["State"]["Pid"]
        outcomes.append("runs")
        assert str(stage.shared) in mounted_at(pid, "/data")
    assert len(outcomes) == 8
    with docker_engine.client() as sdk:
        running = sdk.containers(
            filters={"label": f"flow-manager.instance={stage.manager.settings.instance}"}
        )
    assert len(running) == 1 + outcomes.count("runs")


async def test_what_a_code_folder_leads_to_is_never_a_volume(stage: Stage) -> None:
    """An archive call mounts the volumes, too; a link above the code folder would lead there."""
    plants = "import os; os.rename('/w', '/old'); os.symlink('/data', '/w')"
    code = stage.shared.parent / "code"
    code.mkdir()
    (code / "main.py").write_text(plants)
    made = await stage.create(
        "victim", "python3", "main.py", start=True, code_path=str(code), working_dir="/w/cron.d"
    )
    with anyio.fail_after(20):
        while await stage.state(made) != "stopped":
            await anyio.sleep(0.01)
    with pytest.raises(EngineError, match="leads into the volume /data"):
        await stage.ask("update_container", container_id=made, code_path=str(code))
    assert not list(stage.source.iterdir())
