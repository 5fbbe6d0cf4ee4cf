"""The engine that tests may mistreat does what a real one does, and leaves nothing behind."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.engine import missing
from tests.support.images import FLOW_IMAGE
from tests.support.restartable_engine import RestartableEngine, _members, _namespace

pytestmark = pytest.mark.docker

PROGRAM = "import os, time; print('up', flush=True); time.sleep({0}); os._exit(3)"


def flow(engine: RestartableEngine, seconds: float) -> str:
    """Start a flow that ends by itself, with code 3; an init forwards no signal before it is up."""
    with engine.client() as client:
        config = client.create_host_config(init=True)
        made = client.create_container(
            FLOW_IMAGE, ["python3", "-c", PROGRAM.format(seconds)], host_config=config
        )
        client.start(made)
        until(lambda: client.logs(made) == b"up\n")
        return str(made["Id"])


def state(engine: RestartableEngine, container_id: str) -> Any:
    with engine.client() as client:
        return client.inspect_container(container_id)["State"]


def until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("live_restore", [False, True])
def test_flows_outlive_a_killed_engine_and_with_live_restore_its_return(
    restartable_engine: RestartableEngine, live_restore: bool
) -> None:
    engine = restartable_engine
    engine.ensure(live_restore=live_restore)
    lasting, short = flow(engine, 600), flow(engine, 0.5)
    pid = state(engine, lasting)["Pid"]
    engine.kill()
    assert not engine.answers()
    assert psutil.pid_exists(pid)
    engine.start(live_restore=live_restore)
    assert state(engine, lasting)["Running"] is live_restore
    assert psutil.pid_exists(pid) is live_restore
    if live_restore:
        until(lambda: not state(engine, short)["Running"])
        assert state(engine, short)["ExitCode"] == 3


def test_an_engine_that_ends_in_order_ends_its_flows(
    restartable_engine: RestartableEngine,
) -> None:
    lasting = flow(restartable_engine, 600)
    restartable_engine.restart()
    assert state(restartable_engine, lasting)["ExitCode"] in (0, 143)


def test_a_frozen_engine_goes_on(restartable_engine: RestartableEngine) -> None:
    restartable_engine.freeze()
    assert restartable_engine.pid
    until(lambda: psutil.Process(restartable_engine.pid).status() == psutil.STATUS_STOPPED)
    restartable_engine.thaw()
    assert restartable_engine.answers()


def test_it_leaves_nothing_behind_however_it_ended(tmp_path: Path) -> None:
    if not RestartableEngine.possible():
        missing("an engine that may be killed needs root")
    with RestartableEngine(tmp_path) as engine:
        engine.start()
        assert engine._namespace != _namespace(os.getpid())
        engine.kill()
    assert not engine._folder.exists()
    assert not list(_members(engine._namespace, but=0))
    assert str(engine._folder) not in Path("/proc/self/mountinfo").read_text()
