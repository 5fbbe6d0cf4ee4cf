"""The manager dies, keepers die, folders are damaged: what the next life of the backend finds."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from flow_manager_core.errors import ContainerNotFound
from flow_manager_core.models import ContainerState, EngineEventKind

pytestmark = pytest.mark.anyio

MANAGER = """
import sys, anyio
from pathlib import Path
from flow_manager_core.log import get_log
from flow_manager_core.models import Attachment, ContainerSpec, CreatePlan
from flow_manager_core.providers import ProviderContext
from flow_manager_core.settings import Settings
from flow_manager_process.plugin import PROVIDER
from flow_manager_process.settings import ProcessSettings

async def main():
    core = Settings(state_dir=Path(sys.argv[1]))
    context = ProviderContext(settings=ProcessSettings(), core=core, log=get_log("test"))
    async with PROVIDER.factory(context) as backend:
        spec = ContainerSpec(image="python", name="flow", command=("-c", sys.argv[2]))
        plan = CreatePlan(spec=spec, labels={"n": "1"}, attachment=Attachment({}))
        made = await backend.create(plan)
        await backend.start(made.id)
        print(made.id, (await backend.inspect(made.id)).started_at.isoformat(), flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""
UNTIL_TOLD = """
import os, sys, time
print(os.getpid(), flush=True)
while not os.path.exists({path!r}): time.sleep(0.01)
sys.exit(7)
"""


async def dead_manager(state_dir: Path, code: str) -> tuple[str, str]:
    """Start a flow from a manager of its own, then kill that with -9; return id and start."""
    script = [sys.executable, "-c", MANAGER, str(state_dir), code]
    async with await anyio.open_process(script, stderr=None) as manager:
        assert manager.stdout is not None
        with anyio.fail_after(30):
            told = b""
            while not told.endswith(b"\n"):
                told += await manager.stdout.receive()
        manager.kill()
    container_id, started = told.decode().split()
    return container_id, started


def folder_of(state_dir: Path, made: str) -> Path:
    return state_dir / "process" / "default" / made


def everything(state_dir: Path) -> list[str]:
    return sorted(str(p.relative_to(state_dir)) for p in state_dir.rglob("*"))


def run_record(state_dir: Path, made: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder_of(state_dir, made) / "run.json").read_text())
    return found


async def test_flows_outlive_a_killed_manager_and_are_adopted(
    open_backend: Any, flows_on: Any, state_dir: Path, tmp_path: Path
) -> None:
    sign = tmp_path / "sign"
    made, started = await dead_manager(state_dir, UNTIL_TOLD.format(path=str(sign)))
    async with open_backend() as backend:
        flows = flows_on(backend)
        seen = await backend.inspect(made)
        assert seen.state is ContainerState.RUNNING
        assert seen.started_at.isoformat() == started
        assert seen.labels == {"n": "1"}
        pid = int((await flows.said(made))[0])
        os.kill(pid, 0)
        async with backend.watch() as events:
            sign.touch()
            with anyio.fail_after(10):
                assert (await anext(events)).kind is EngineEventKind.DIED
        assert (await backend.inspect(made)).exit_code == 7
        assert await flows.lines(made) == [str(pid)]


async def test_an_end_while_no_manager_was_there_is_known(
    open_backend: Any, flows_on: Any, state_dir: Path, tmp_path: Path
) -> None:
    sign = tmp_path / "sign"
    made, _ = await dead_manager(state_dir, UNTIL_TOLD.format(path=str(sign)))
    sign.touch()
    with anyio.fail_after(10):
        while not (folder_of(state_dir, made) / "exit.json").exists():
            await anyio.sleep(0.02)
    async with open_backend() as backend:
        seen = await backend.inspect(made)
        assert seen.state is ContainerState.EXITED
        assert seen.exit_code == 7
        assert seen.error == ""


async def test_a_killed_keeper_takes_its_flow_along_and_that_is_told(
    flows: Any, state_dir: Path
) -> None:
    made = await flows.start("import os, time; print(os.getpid(), flush=True); time.sleep(600)")
    pid = int((await flows.said(made))[0])
    async with flows.backend.watch() as events:
        os.kill(run_record(state_dir, made)["keeper"], signal.SIGKILL)
        with anyio.fail_after(10):
            assert (await anext(events)).kind is EngineEventKind.DIED
    seen = await flows.backend.inspect(made)
    assert (seen.state, seen.exit_code) == (ContainerState.EXITED, 137)
    assert "keeper" in seen.error
    await flows.gone(pid)
    await flows.backend.start(made)
    assert (await flows.backend.inspect(made)).state is ContainerState.RUNNING


async def test_a_keeper_killed_while_no_manager_was_there_leaves_nothing_running(
    open_backend: Any, flows_on: Any, state_dir: Path
) -> None:
    async with open_backend() as backend:
        flows = flows_on(backend)
        made = await flows.start(
            "import os, time; os.fork(); os.write(1, b'%d\\n' % os.getpid()); time.sleep(600)"
        )
        pids = [int(line) for line in await flows.said(made, 2)]
    os.kill(run_record(state_dir, made)["keeper"], signal.SIGKILL)
    async with open_backend() as backend:
        with anyio.fail_after(10):
            while (await backend.inspect(made)).state is ContainerState.RUNNING:
                await anyio.sleep(0.02)
        seen = await backend.inspect(made)
        assert (seen.state, seen.exit_code) == (ContainerState.EXITED, 137)
        for pid in pids:
            await flows.gone(pid)
        await backend.remove(made)


async def test_a_frozen_keeper_does_not_save_its_flow_from_stop(
    flows: Any, state_dir: Path
) -> None:
    made = await flows.start("import os, time; print(os.getpid(), flush=True); time.sleep(600)")
    pid = int((await flows.said(made))[0])
    os.kill(run_record(state_dir, made)["keeper"], signal.SIGSTOP)
    with anyio.fail_after(10):
        await flows.backend.stop(made, 0.1)
    assert (await flows.backend.inspect(made)).exit_code == 137
    await flows.gone(pid)


@pytest.mark.parametrize("change", [{"keeper_ticks": 1}, {"boot": "another"}])
async def test_a_stranger_with_a_runs_number_is_neither_adopted_nor_killed(
    open_backend: Any, flows_on: Any, state_dir: Path, change: dict[str, Any]
) -> None:
    async with open_backend() as backend:
        flows = flows_on(backend)
        made = await flows.start("pass")
        await flows.ended(made)
    async with await anyio.open_process([sys.executable, "-c", "input()"]) as stranger:
        record = run_record(state_dir, made)
        forged = {**record, "keeper": stranger.pid, "pid": stranger.pid, "pid_ticks": 1, **change}
        (folder_of(state_dir, made) / "run.json").write_text(json.dumps(forged))
        (folder_of(state_dir, made) / "exit.json").unlink()
        async with open_backend() as backend:
            assert (await backend.inspect(made)).exit_code == 137
            await backend.stop(made, 0.1)
            await backend.remove(made)
        assert stranger.returncode is None
        os.kill(stranger.pid, 0)
        stranger.kill()


async def test_half_made_and_half_removed_folders_are_cleared(
    open_backend: Any, state_dir: Path
) -> None:
    root = state_dir / "process" / "default"
    for name in (".aa.new", ".bb.gone"):
        (root / name / "code").mkdir(parents=True)
    async with open_backend() as backend:
        assert not await backend.list()
    assert list(root.iterdir()) == []


async def test_a_damaged_folder_is_kept_and_does_not_hide_the_others(
    open_backend: Any, flows_on: Any, state_dir: Path
) -> None:
    async with open_backend() as backend:
        flows = flows_on(backend)
        made, damaged = await flows.create("-c", "pass"), await flows.create("-c", "pass")
    record = folder_of(state_dir, damaged) / "container.json"
    record.write_text("{")
    async with open_backend() as backend:
        assert [c.id for c in await backend.list()] == [made]
        with pytest.raises(ContainerNotFound):
            await backend.inspect(damaged)
    assert record.read_text() == "{"


@pytest.mark.parametrize("instance", ["..", "a/../../b", ".", "ü", "a b"])
async def test_an_instances_folder_stays_inside(
    open_backend: Any, flows_on: Any, state_dir: Path, instance: str
) -> None:
    async with open_backend(instance=instance) as backend:
        made = await flows_on(backend).create("-c", "pass")
        [place] = [path for path in everything(state_dir.parent) if path.endswith(made)]
        assert len(Path(place).parts) == 4
        assert place.startswith("state/process/")
        await backend.remove(made)


async def test_what_is_kept_is_readable_by_its_owner_alone(flows: Any, state_dir: Path) -> None:
    made = await flows.create("-c", "pass", environment={"SECRET": "s"})
    folder = folder_of(state_dir, made)
    assert folder.stat().st_mode & 0o077 == 0
    assert (folder / "container.json").stat().st_mode & 0o077 == 0
