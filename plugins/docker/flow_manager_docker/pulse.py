"""Whether the engine is there, and which life of it this is."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from attrs import frozen

from flow_manager_core.models import EngineInfo
from flow_manager_docker.calls import MARGIN, Threads, within
from flow_manager_docker.client import EngineClient
from flow_manager_docker.dialects import dialect_of
from flow_manager_docker.errors_map import Subject

#: Seconds that an engine gets to answer: a present one takes milliseconds, a frozen one is to be
#: found out soon.
DEADLINE = 3.0

#: Seconds after which the engine is asked again for what hardly changes within a life: that takes
#: four times as long as all the rest.
KEPT = 30.0

#: Processes that are not the engine, seen at the other end: 1 is an init that made the socket and
#: handed it on, 0 stands for one that cannot be seen from here.
FOREIGN = (0, 1)

#: The network that the engine makes anew when it starts, unless it was told not to have it, or
#: keeps running containers.
BRIDGE = {"name": ["bridge"], "type": ["builtin"]}

#: What operators see of the engine, by its key in the answer of ``GET /info``.
DETAILS = {"Os": "OSType", "Arch": "Architecture", "KernelVersion": "KernelVersion"}


@frozen
class _Known:
    life: str
    at: float
    info: Mapping[str, Any]


class Pulse:
    """Asks over a new connection each time, in threads that nothing else uses.

    Args:
        request_timeout: seconds; an upper bound of this one's own deadline.
    """

    def __init__(self, request_timeout: float) -> None:
        self._seconds = min(request_timeout, DEADLINE)
        # One more than the one that may still wait for an engine that hangs.
        self._threads = Threads(2)
        self._lock = threading.Lock()
        self._known: _Known | None = None

    async def ask(self) -> EngineInfo:
        """Ask now.

        Raises:
            EngineUnavailable: no answer, or not in time.
        """
        with within(self._seconds, Subject()):
            return await self._threads.call(self._ask, Subject(), seconds=self._seconds)

    def _ask(self) -> EngineInfo:
        with EngineClient(self._seconds + MARGIN, ask_version=False) as client:
            with client.open("GET", "/_ping") as stream:
                peer = stream.peer() if client.local else None
                make, api = dialect_of(stream.headers), stream.headers.get("Api-Version", "")
                stream.drain()
            created = bridge_age(client) if make.daemon else ""
            boot = boot_id() if client.local else ""
            process = process_name(peer) if make.daemon else ""
            life = " ".join(part for part in (boot, process, created) if part)
            info = self._info(client, life)
        return EngineInfo(
            name=make.name,
            version=info.get("ServerVersion", ""),
            details={"ApiVersion": api} | {k: info[v] for k, v in DETAILS.items() if v in info},
            life=life,
            since=datetime.fromisoformat(created) if created else None,
            keeps_flows=not make.daemon or bool(info.get("LiveRestoreEnabled", False)),
        )

    def _info(self, client: EngineClient, life: str) -> Mapping[str, Any]:
        with self._lock:
            known = self._known
        at = time.monotonic()
        if known is not None and life and known.life == life and at - known.at < KEPT:
            return known.info
        with client.open("GET", "/info") as stream:
            fresh = _Known(life, at, stream.json())
        with self._lock:
            self._known = fresh
        return fresh.info


def bridge_age(client: EngineClient) -> str:
    """Say when the engine made its own bridge; empty when it has none. Blocking."""
    with client.open("GET", "/networks", params={"filters": json.dumps(BRIDGE)}) as stream:
        return next((str(n["Created"]) for n in stream.json() if n["Name"] == "bridge"), "")


def process_name(pid: int | None) -> str:
    """Name a process of this host for good: its number and its start in ticks since the boot.

    Empty for one that is not the engine itself, or cannot be seen.
    """
    if pid is None or pid in FOREIGN:
        return ""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return ""
    # Field 22 of proc(5); the second may hold spaces and brackets.
    return f"{pid}@{stat.rpartition(')')[2].split()[19]}"


def boot_id() -> str:
    """Name this boot of the host; empty where the system has no name for it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
