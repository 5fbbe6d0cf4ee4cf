"""What clients are told of a crash: code, signal, want of memory, and the tail of the output."""

from __future__ import annotations

import signal

import anyio

from flow_manager_core.contracts import ContainerBackend
from flow_manager_core.errors import FlowManagerError
from flow_manager_core.events import ContainerCrashed
from flow_manager_core.lifecycle import signal_of
from flow_manager_core.models import Container

#: Lines of output that come with a crash, and the seconds that reading them may take.
TAIL = 20
PATIENCE = 2.0


async def crash_event(backend: ContainerBackend, container: Container) -> ContainerCrashed:
    """Describe how a run ended that nobody asked to end."""
    number = signal_of(container)
    oom_killed = killed_for_memory(container)
    details = {
        "error": container.error or _sentence(container, number, oom_killed=oom_killed),
        "oom_killed": oom_killed,
        "signal": _signal_name(number) if number is not None else None,
        "logs": await _tail(backend, container.id),
    }
    return ContainerCrashed(
        container_id=container.id, exit_code=container.exit_code, crash_details=details
    )


def killed_for_memory(container: Container) -> bool:
    """Whether want of memory ended the run.

    The engine's flag alone does not say so: it is also set when a child of the program was killed
    and the program lived on. The kernel ends whom it chooses by SIGKILL.
    """
    return container.oom_killed and signal_of(container) == signal.SIGKILL


async def _tail(backend: ContainerBackend, container_id: str) -> list[str]:
    with anyio.move_on_after(PATIENCE):
        try:
            lines = await backend.logs(container_id, tail=TAIL, since=None)
        except FlowManagerError as error:
            return [f"(the output could not be read: {error.message})"]
        return [line.line for line in lines]
    return [f"(the output could not be read within {PATIENCE:g} s)"]


def _sentence(container: Container, number: int | None, *, oom_killed: bool) -> str:
    if oom_killed:
        return "Killed because it used more memory than it may"
    if number is not None:
        return f"Killed by signal {number} ({_signal_name(number)})"
    return f"Ended with exit code {container.exit_code}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"
