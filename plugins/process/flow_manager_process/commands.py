"""Commands beside a running program, in its surroundings."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress

import anyio
from anyio.abc import Process

from flow_manager_core.errors import EngineError
from flow_manager_core.models import CommandOutcome

#: Bytes of a command's output that are kept: its end.
KEPT = 4096


async def run_command(
    command: Sequence[str], environment: Mapping[str, str], working_dir: str, timeout: float
) -> CommandOutcome:
    """Run a command to its end; whatever happens, its process group is gone after that.

    Args:
        timeout: seconds.

    Raises:
        EngineError: there is no such program.
        TimeoutError: it was not done in time.
    """
    try:
        process = await anyio.open_process(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=working_dir,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise EngineError(f"The command cannot be run: {error}") from error
    try:
        with anyio.fail_after(timeout):
            output = await _read(process)
            return CommandOutcome(await process.wait(), output)
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        with anyio.CancelScope(shield=True):
            await process.aclose()


async def _read(process: Process) -> str:
    kept = bytearray()
    if process.stdout is not None:
        async for chunk in process.stdout:
            kept += chunk
            del kept[:-KEPT]
    return kept.decode(errors="replace")
