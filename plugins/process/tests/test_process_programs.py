"""What a flow of the process backend is given, and what is left of it."""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest

from flow_manager_core.contracts import ContainerBackend, ResourceMeter
from flow_manager_core.errors import EngineError, ImageNotFound
from flow_manager_core.models import ContainerState, EngineEventKind
from flow_manager_process.settings import ProcessSettings

pytestmark = pytest.mark.anyio

PRINT_ENVIRONMENT = "import json, os; print(json.dumps(dict(os.environ)))"
SPAWN = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"],
                         start_new_session=sys.argv[1] == "away", stdout=subprocess.DEVNULL)
print(child.pid, flush=True)
time.sleep(float(sys.argv[2]))
"""


async def test_the_managers_environment_stays_with_the_manager(
    flows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOW_MANAGER_TOKEN", "secret")
    made = await flows.start(PRINT_ENVIRONMENT, environment={"MINE": "1"})
    found = json.loads((await flows.output(made))[0])
    assert found["MINE"] == "1"
    assert found["PATH"] == os.environ["PATH"]
    assert "FLOW_MANAGER_TOKEN" not in found
    allowed = {*ProcessSettings().inherit_environment, "MINE", "PYTHONUNBUFFERED", "LC_CTYPE"}
    assert set(found) <= allowed


async def test_nothing_but_the_three_streams_is_open_in_a_flow(flows: Any) -> None:
    kept = os.open(os.devnull, os.O_RDONLY)
    os.set_inheritable(kept, True)
    code = "import os, sys; print(sorted(os.listdir('/proc/self/fd'))); print(sys.stdin.read())"
    made = await flows.start(code)
    os.close(kept)
    # The fourth is the listing's own.
    assert await flows.output(made) == ["['0', '1', '2', '3']", ""]


async def test_a_flow_runs_in_its_code_folder_unless_told_otherwise(
    flows: Any, tmp_path: Path
) -> None:
    where = "import os; print(os.getcwd())"
    plain = await flows.start(where)
    placed = await flows.start(where, working_dir=str(tmp_path))
    coded = await flows.start(where, working_dir=str(tmp_path), code_path=str(tmp_path))
    assert (await flows.output(plain))[0].endswith(f"{plain}/code")
    assert await flows.output(placed) == [str(tmp_path)]
    assert (await flows.output(coded))[0].endswith(f"{coded}/code")


async def test_python_means_the_managers_own(flows: Any) -> None:
    made = await flows.start("import sys; print(sys.executable)")
    assert await flows.output(made) == [sys.executable]


async def test_an_image_is_found_on_the_path(flows: Any) -> None:
    made = await flows.create("-c", 'echo "$0 $1"', "a", "b c", image="sh")
    await flows.backend.start(made)
    assert await flows.output(made) == ["a b c"]


@pytest.mark.parametrize("image", ["no-such-program", "./python", "/no/such/program", "/tmp", ""])
async def test_an_image_that_is_no_executable_is_not_found(flows: Any, image: str) -> None:
    with pytest.raises(ImageNotFound) as caught:
        await flows.create(image=image)
    assert "PATH" in caught.value.hint


async def test_a_failed_start_says_which_step_failed_and_why(flows: Any, tmp_path: Path) -> None:
    astray = await flows.create("-c", "pass", working_dir=str(tmp_path / "away"))
    with pytest.raises(EngineError, match=r"working directory: No such file .*away"):
        await flows.backend.start(astray)
    (tmp_path / "plain").write_text("")
    plain = await flows.create(image=str(tmp_path / "plain"))
    with pytest.raises(EngineError, match=r"run the executable: Permission denied: .*plain"):
        await flows.backend.start(plain)
    assert (await flows.backend.inspect(plain)).state is ContainerState.CREATED


async def test_a_failed_start_can_be_put_right(flows: Any, tmp_path: Path) -> None:
    made = await flows.create("-c", "pass", working_dir=str(tmp_path / "late"))
    with pytest.raises(EngineError):
        await flows.backend.start(made)
    (tmp_path / "late").mkdir()
    await flows.backend.start(made)
    seen = await flows.ended(made)
    assert (seen.exit_code, seen.error) == (0, "")


@pytest.mark.parametrize("where", ["near", "away"])
async def test_stop_leaves_no_process_behind(flows: Any, where: str) -> None:
    made = await flows.start(SPAWN, where, "600")
    child = int((await flows.said(made))[0])
    await flows.backend.stop(made, 5.0)
    await flows.gone(child)


@pytest.mark.parametrize("where", ["near", "away"])
async def test_an_end_takes_what_the_flow_left_with_it(flows: Any, where: str) -> None:
    made = await flows.start(SPAWN, where, "0")
    child = int((await flows.output(made))[0])
    await flows.gone(child)
    assert (await flows.backend.inspect(made)).exit_code == 0


async def test_a_stop_reaches_the_whole_group(flows: Any) -> None:
    made = await flows.start(
        "import os, signal, sys, time\n"
        "child = os.fork()\n"
        "name = b'parent' if child else b'child'\n"
        "def heed(*_):\n"
        "    os.write(1, name + b' asked\\n')\n"
        "    if child: os.waitpid(child, 0)\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, heed)\n"
        "os.write(1, b'ready\\n')\n"
        "while True: time.sleep(60)\n"
    )
    await flows.said(made, 2)
    await flows.backend.stop(made, 10.0)
    assert sorted(await flows.lines(made)) == ["child asked", "parent asked", "ready", "ready"]


async def test_a_flood_of_output_is_bounded_and_its_end_is_kept(
    open_backend: Any, flows_on: Any, state_dir: Path
) -> None:
    limit = 200_000
    async with open_backend(ProcessSettings(output_limit=limit)) as backend:
        flows = flows_on(backend)
        made = await flows.start(
            "import sys\nfor n in range(100_000): sys.stdout.write(f'line {n}\\n')"
        )
        lines = await flows.output(made)
        files = (state_dir / "process" / "default" / made).glob("output*.log")
        assert sum(f.stat().st_size for f in files) <= limit
        numbers = [int(line.removeprefix("line ")) for line in lines]
        assert numbers[-1] == 99_999
        assert all(b == a + 1 for a, b in pairwise(numbers))
        assert len(numbers) > 1000
        await backend.remove(made)


async def test_bytes_that_are_no_text_and_lines_without_an_end_are_shown(flows: Any) -> None:
    made = await flows.start(
        "import os; os.write(1, b'\\xff\\xfe bad\\n');os.write(1, b'x' * 40_000); os.write(2, b'e')"
    )
    seen = await flows.ended(made)
    assert seen.exit_code == 0
    lines = await flows.backend.logs(made, tail=None, since=None)
    out = [e.line for e in lines if e.stream == "stdout"]
    assert out[0] == "\ufffd\ufffd bad"
    assert "".join(out[1:]) == "x" * 40_000
    assert [e.line for e in lines if e.stream == "stderr"] == ["e"]


async def test_cpu_use_is_measured_over_the_flow_and_its_children(
    process_backend: ContainerBackend, flows: Any
) -> None:
    assert isinstance(process_backend, ResourceMeter)
    made = await flows.start(
        "import os, sys\nos.fork()\nprint('busy', flush=True)\nwhile True: pass"
    )
    await flows.said(made, 2)
    first = await process_backend.usage(made)
    await flows.said(made, 2)
    second = None
    while second is None or (second.cpu_percent or 0) < 10:
        second = await process_backend.usage(made)
    assert first is not None
    assert first.cpu_percent is None
    assert second.pids == 2
    assert second.network_rx_bytes is None


async def test_a_hundred_lives_leave_nothing_behind(
    no_leaks: Any, open_backend: Any, flows_on: Any, state_dir: Path
) -> None:
    async with open_backend() as backend:
        flows = flows_on(backend)
        for _ in range(100):
            made = await flows.start("import time; time.sleep(600)")
            await backend.stop(made, 0.0)
            await backend.remove(made)
    assert list((state_dir / "process" / "default").iterdir()) == []


async def test_a_process_that_no_signal_ends_is_named_in_time(
    open_backend: Any, flows_on: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ProcessSettings(kill_timeout=0.05)
    async with open_backend(settings, request_timeout=0.2) as backend:
        made = await flows_on(backend).start("import time; time.sleep(600)")
        with monkeypatch.context() as patch:
            patch.setattr("flow_manager_process.runs.LiveRun.signal", lambda *_: None)
            for end in (partial(backend.stop, made, 0.0), partial(backend.remove, made)):
                with anyio.fail_after(5), pytest.raises(EngineError, match="does not end"):
                    await end()
        assert (await backend.inspect(made)).state is ContainerState.RUNNING


@pytest.mark.skipif(sys.platform != "linux", reason="subreapers are Linux's")
async def test_a_manager_that_is_the_systems_first_process_leaves_no_zombies(
    no_leaks: Any, flows: Any
) -> None:
    prctl, set_child_subreaper = ctypes.CDLL(None).prctl, 36
    before = psutil.Process().children()
    prctl(set_child_subreaper, 1, 0, 0, 0)
    try:
        for _ in range(5):
            await flows.ended(await flows.start("pass"))
        assert psutil.Process().children() == before
    finally:
        prctl(set_child_subreaper, 0, 0, 0, 0)


async def test_a_flows_end_is_known_within_moments(flows: Any) -> None:
    async with flows.backend.watch() as events:
        made = await flows.start("import time; time.sleep(0.2)")
        with anyio.fail_after(10):
            while (await anext(events)).kind is not EngineEventKind.DIED:
                continue
        told = time.time()
    finished = (await flows.backend.inspect(made)).finished_at
    assert told - finished.timestamp() < 0.5
