"""The loop watch finds what holds an event loop, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

CONFTEST = """
import pytest

@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request, watched):
    return watched(request.param)
"""
HEADER = "import time, anyio, anyio.to_thread, pytest\npytestmark = pytest.mark.anyio\n"


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    """Run a file of tests under the watch, in a process of its own."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def run(source: str) -> pytest.RunResult:
        pytester.makeconftest(CONFTEST)
        pytester.makepyfile(HEADER + source)
        return pytester.runpytest_subprocess("-p", "tests.support.loop_watch")

    return run


def test_a_sleeping_coroutine_fails_its_test_on_both_loops(run):
    result = run("async def test_it():\n    time.sleep(2)\n")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["The event loop was blocked:", "*2.??? s in *", "*py:4 test_it"])


def test_a_blocking_async_fixture_is_an_error(run):
    result = run(
        "@pytest.fixture\nasync def slow(anyio_backend):\n    time.sleep(2)\n"
        "async def test_it(slow):\n    pass\n"
    )
    result.assert_outcomes(errors=2)


def test_a_blocking_child_task_is_found_too(run):
    result = run(
        "async def block():\n    time.sleep(2)\n"
        "async def test_it():\n"
        "    async with anyio.create_task_group() as group:\n        group.start_soon(block)\n"
    )
    result.assert_outcomes(failed=2)


def test_waiting_and_worker_threads_do_not_count(run):
    result = run(
        "async def test_it():\n"
        "    await anyio.sleep(2)\n"
        "    await anyio.to_thread.run_sync(time.sleep, 2)\n"
    )
    result.assert_outcomes(passed=2)


def test_the_marker_lets_a_test_block(run):
    result = run(
        "@pytest.mark.blocks_loop('on purpose')\nasync def test_it():\n    time.sleep(2)\n"
    )
    result.assert_outcomes(passed=2)


def test_the_garbage_collector_does_not_count(run):
    result = run(
        "import gc\n"
        "class Slow:\n    def __del__(self):\n        time.sleep(2)\n"
        "async def test_it():\n"
        "    one = Slow()\n    one.self = one\n    del one\n    gc.collect()\n"
    )
    result.assert_outcomes(passed=2)


@pytest.mark.alone
def test_a_crowded_machine_does_not_count(run):
    result = run(
        "import os, subprocess, sys\n"
        "def start():\n"
        "    command = [sys.executable, '-c', 'while True: pass']\n"
        "    return [subprocess.Popen(command) for _ in range(6 * os.cpu_count())]\n"
        "def end(crowd):\n"
        "    for one in crowd:\n        one.kill()\n        one.wait()\n"
        "async def test_it():\n"
        "    crowd = await anyio.to_thread.run_sync(start)\n"
        "    try:\n"
        "        for _ in range(3):\n"
        "            await anyio.sleep(0)\n"
        "            until = time.thread_time() + 0.1\n"
        "            while time.thread_time() < until:\n                pass\n"
        "        await anyio.sleep(0)\n"
        "        time.sleep(0.6)  # as for a thread that is itself kept waiting\n"
        "    finally:\n"
        "        await anyio.to_thread.run_sync(end, crowd)\n"
    )
    result.assert_outcomes(passed=2)
