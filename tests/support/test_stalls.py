"""A test that hangs does not stop the run, and says what it waits for."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

HANGING = """
import anyio, pytest

@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", [{backend!r}])
async def test_it(anyio_backend):
    async def wait_for_nobody():
        await anyio.Event().wait()

    async with anyio.create_task_group() as group:
        group.start_soon(wait_for_nobody)
"""
SETTINGS = ("-o", "faulthandler_timeout=4", "-o", "faulthandler_exit_on_timeout=true")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_test_that_hangs_is_ended_and_its_tasks_are_named(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, backend: str
):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makepyfile(HANGING.format(backend=backend))
    result = pytester.runpytest_subprocess("-p", "tests.support.stalls", *SETTINGS, timeout=60)
    assert result.ret == 1
    result.stderr.fnmatch_lines(
        ["*::test_it[[]*[]] hangs; its tasks wait here:", "*.wait_for_nobody", "Timeout (*"]
    )


def test_a_test_that_ends_in_time_is_left_alone(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makepyfile("def test_it():\n    pass\n")
    result = pytester.runpytest_subprocess("-p", "tests.support.stalls", *SETTINGS, timeout=60)
    result.assert_outcomes(passed=1)
    assert "hangs" not in result.stderr.str()
