"""Commands in running containers, one at a time in each, and none that outlives its time.

The engine cannot end a command that it began, and goes on running it when nobody listens any more.
So what is not done in time is killed from the host, where that can be; and while it is there, no
other one is begun in its container.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests
import urllib3
from attrs import frozen

from flow_manager_core.models import CommandOutcome
from flow_manager_docker.client import EngineClient
from flow_manager_docker.log_reading import frames

#: Bytes of a command's output that are kept: its end.
KEPT = 4096
#: Seconds that the engine may take to note a command's end, and between two looks.
NOTED, LOOK = 2.0, 0.02

#: What ends the reading of a command's output before its end.
_CUT_OFF = (requests.RequestException, urllib3.exceptions.HTTPError, OSError)


@frozen
class _Order:
    client: EngineClient
    container_id: str
    command: Sequence[str]
    deadline: float


class ContainerCommands:
    """Knows which command is under way in which container. Its methods block."""

    def __init__(self) -> None:
        self._under_way: dict[str, str] = {}

    def run(
        self, client: EngineClient, container_id: str, command: Sequence[str], timeout: float
    ) -> CommandOutcome:
        """Run a command to its end.

        Args:
            timeout: seconds.

        Raises:
            TimeoutError: it was not done in time, or the last one is still not done.
            docker.errors.APIError: the engine refuses.
        """
        self._end_last(client, container_id)
        order = _Order(client, container_id, command, time.monotonic() + timeout)
        begun = str(client.api.exec_create(container_id, list(command))["Id"])
        self._under_way[container_id] = begun
        try:
            output = _output(order, begun)
            outcome = CommandOutcome(_exit_code(order, begun), output)
        except TimeoutError:
            self._end_last(client, container_id)
            raise
        self._under_way.pop(container_id, None)
        return outcome

    def forget(self, container_id: str) -> None:
        """Drop what is kept of a container."""
        self._under_way.pop(container_id, None)

    def _end_last(self, client: EngineClient, container_id: str) -> None:
        last = self._under_way.get(container_id)
        if last is not None and _runs_on(client, container_id, last):
            raise TimeoutError
        self._under_way.pop(container_id, None)


def _output(order: _Order, begun: str) -> str:
    """Begin, and read what it writes, to the end of both streams.

    Raises:
        TimeoutError: that did not come in time.
    """
    kept = bytearray()
    where = f"/exec/{quote(begun, safe='')}/start"
    left = max(0.1, order.deadline - time.monotonic())
    body = {"Detach": False, "Tty": False}
    with order.client.open("POST", where, json=body, timeout=left) as stream:
        try:
            for _, piece in frames(stream.pieces()):
                kept += piece
                del kept[:-KEPT]
                if time.monotonic() > order.deadline:
                    raise TimeoutError
        except _CUT_OFF as error:
            raise TimeoutError from error
    return kept.decode(errors="replace")


def _exit_code(order: _Order, begun: str) -> int:
    """Ask for the exit code, which the engine notes a moment after the output's end.

    Raises:
        TimeoutError: it runs on without its output.
    """
    patience = max(order.deadline, time.monotonic() + LOOK)
    while True:
        found = order.client.api.exec_inspect(begun)
        if not found["Running"] and found["ExitCode"] is not None:
            return int(found["ExitCode"])
        if time.monotonic() > patience:
            raise TimeoutError
        time.sleep(LOOK)


def _runs_on(client: EngineClient, container_id: str, begun: str) -> bool:
    """Kill a command where that can be; tell whether it is there all the same."""
    found: dict[str, Any] = client.api.exec_inspect(begun)
    until = time.monotonic() + NOTED
    while found["Running"] and client.local and found["Pid"] and time.monotonic() < until:
        _kill(found["Pid"], container_id)
        time.sleep(LOOK)
        found = client.api.exec_inspect(begun)
    return bool(found["Running"])


def _kill(pid: int, container_id: str) -> None:
    """Kill a process of a container with all that it has begun; nobody else's of that number."""
    for each in [*_descendants(pid), pid]:
        with suppress(OSError):
            handle = os.pidfd_open(each)
            try:
                # After the opening: now the descriptor cannot come to mean another process.
                if container_id in Path("/proc", str(each), "cgroup").read_text():
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
            finally:
                os.close(handle)


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):
        for task in Path("/proc", str(pid), "task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found += [*_descendants(child), child]
    return found
