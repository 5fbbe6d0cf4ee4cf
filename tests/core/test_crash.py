"""What clients are told of a crash."""

from __future__ import annotations

import attrs
import pytest

from flow_manager_core.crash import crash_event
from flow_manager_core.models import Attachment, ContainerSpec, CreatePlan
from flow_manager_core.testing.memory_backend import SCRIPTED, MemoryBackend, MemoryEngine

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("code", "flag", "oom_killed", "signal", "error"),
    [
        (137, True, True, "SIGKILL", "Killed because it used more memory than it may"),
        (137, False, False, "SIGKILL", "Killed by signal 9 (SIGKILL)"),
        (1, True, False, None, "Ended with exit code 1"),
        (139, True, False, "SIGSEGV", "Killed by signal 11 (SIGSEGV)"),
        (3, False, False, None, "Ended with exit code 3"),
    ],
)
async def test_only_a_run_that_was_itself_killed_was_killed_for_memory(
    code: int, flag: bool, oom_killed: bool, signal: str | None, error: str
) -> None:
    async with MemoryEngine(SCRIPTED).opened() as engine:
        backend = MemoryBackend(engine, "i")
        spec = ContainerSpec(image="memory", name="a")
        made = await backend.create(CreatePlan(spec=spec, labels={}, attachment=Attachment({})))
        event = await crash_event(backend, attrs.evolve(made, exit_code=code, oom_killed=flag))
    assert event.exit_code == code
    assert event.crash_details == {
        "error": error,
        "oom_killed": oom_killed,
        "signal": signal,
        "logs": [],
    }
