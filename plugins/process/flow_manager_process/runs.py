"""A run under way, by its keeper: wait for its end, signal it, clear up after a lost keeper."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import anyio

from flow_manager_process.identity import open_pidfd, start_ticks
from flow_manager_process.records import RunRecord

#: Seconds between two looks at a keeper where the system gives no notice.
POLL_INTERVAL = 0.1
#: Keepers pass these on to the program's group; see `shim`.
ASK, KILL = signal.SIGTERM, signal.SIGUSR1


class LiveRun:
    """A run whose keeper was there when this was made. `close` it in the end.

    Raises:
        ProcessLookupError: the keeper is gone.
    """

    def __init__(self, record: RunRecord) -> None:
        self.record = record
        self.ended: anyio.Event = anyio.Event()
        self._pidfd = open_pidfd(record.keeper)
        # After the opening: now the descriptor cannot come to mean another process.
        if not record.kept():
            self.close()
            raise ProcessLookupError(record.keeper)

    async def keeper_gone(self) -> None:
        """Wait until the keeper has ended, having recorded the program's end if it could."""
        if self._pidfd is None:
            while self.record.kept():  # noqa: ASYNC110 - there is nothing to be woken by
                await anyio.sleep(POLL_INTERVAL)
        else:
            await anyio.wait_readable(self._pidfd)
            self._reap(self._pidfd)

    def signal(self, number: signal.Signals) -> None:
        """Send the keeper a signal; nothing happens when it is gone."""
        try:
            if self._pidfd is not None:
                signal.pidfd_send_signal(self._pidfd, number)
            elif self.record.kept():
                os.kill(self.record.keeper, number)
        except ProcessLookupError:
            return

    def close(self) -> None:
        """Let the descriptor go; the run is not touched."""
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None

    def _reap(self, pidfd: int) -> None:
        """Keepers are nobody's children, so ours only where we are the system's first process."""
        try:
            os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
        except ChildProcessError:
            return


def kill_orphans(record: RunRecord, boot: Callable[[], str]) -> None:
    """Kill what a run left when its keeper was killed: its process group.

    A group's number is not given away while it has members; so whoever now has the leader's
    number with another start is a stranger, and the group is empty.
    """
    if record.boot != boot() or start_ticks(record.pid) not in (None, record.pid_ticks):
        return
    try:
        os.killpg(record.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
