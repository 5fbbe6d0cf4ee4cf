"""The service and what it stands beside, each with a flow that costs nothing, ready for clients."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen

from benchmarks.processes import Child, child
from tests.e2e.service import Service
from tests.support.socketio_wire import Wire, port_of

FLOW = Path(__file__).parent / "references" / "flow.py"
#: Seconds that a flow may take to come up.
_PATIENCE = 30.0
#: `Service` is in a hurry where tests are; here it has the product's own defaults.
_DEFAULTS = {
    "LOG_LEVEL": "INFO",
    "FLOW_MANAGER_PROOF_OF_LIFE": "3",
    "FLOW_MANAGER_RECONNECT_TIMEOUT": "15",
    "FLOW_MANAGER_BACKOFF_FIRST_DELAY": "1",
}


@frozen(kw_only=True)
class Contestant:
    """A server that clients can come to.

    Args:
        pid: of the process that serves.
        auth: what a client presents.
        greeted: whether clients are greeted with ``connected``.
        flow: the container that answers; a bare server looks away, here and beside.
        source: another one, whose own messages keep nobody's answers back.
    """

    port: int
    pid: int
    auth: Mapping[str, Any] = field(factory=dict)
    greeted: bool = False
    flow: str = "0" * 12
    source: str = "0" * 12

    def asking(self, **auth: Any) -> Contestant:
        """The same server for clients that present something more."""
        return evolve(self, auth={**self.auth, **auth})

    def question(self, data: Any) -> dict[str, Any]:
        """What ``send_message`` carries to have something sent back."""
        message = {"command": "echo", "data": data}
        return {"container_id": self.flow, "message": message, "reply": True}

    def order(self, command: str, data: Any) -> dict[str, Any]:
        """What it carries to have the source say something by itself."""
        return {"container_id": self.source, "message": {"command": command, "data": data}}

    def cpu(self) -> float:
        """Seconds of the processor that it has used so far, finer than the kernel's ticks."""
        # Linux's number for the clock of a process, as clock_getcpuclockid(3) makes it.
        return time.clock_gettime((~self.pid << 3) | 2)


@contextmanager
def flow_manager(kind: type[Service] = Service, **environ: str) -> Iterator[Contestant]:
    """The service with its defaults, its flow a child process; clients ask for no events."""
    root = Path(tempfile.mkdtemp(prefix="fm-bench-"))
    try:
        (root / "code").mkdir()
        shutil.copy(FLOW, root / "code")
        with kind(root, "process", "python", "", **_DEFAULTS, **environ) as service:
            assert service.process
            yield Contestant(
                port=port_of(service.url),
                pid=service.process.pid,
                auth={"token": service.token, "events": []},
                greeted=True,
                flow=_start_flow(service),
                source=_start_flow(service),
            )
    finally:
        shutil.rmtree(root)


def _start_flow(service: Service) -> str:
    with Wire(port_of(service.url)).enter(service.token) as wire:
        wire.socket.settimeout(_PATIENCE)
        made = wire.ask(
            "create_container",
            {
                "image": service.image,
                "command": service.command(FLOW.name),
                "code_path": str(service.root / "code"),
                "stop_timeout": 1,
                "start": True,
            },
        )
        flow = str(made["container_id"])
        end = time.monotonic() + _PATIENCE
        while not wire.ask("get_container_status", {"container_id": flow})["socket_connected"]:
            if time.monotonic() > end:
                raise TimeoutError("the flow did not connect")
            time.sleep(0.01)
    return flow


@contextmanager
def bare_relay() -> Iterator[Contestant]:
    """python-socketio and a flow's socket, with 40 lines between them."""
    folder = Path(tempfile.mkdtemp(prefix="fm-bench-"))
    path = str(folder / "flow.sock")
    try:
        with (
            child("benchmarks.references.flow", path),
            child("benchmarks.references.relay", path) as relay,
        ):
            yield _bare(relay)
    finally:
        shutil.rmtree(folder)


@contextmanager
def bare_echo() -> Iterator[Contestant]:
    """python-socketio alone, which answers by itself."""
    with child("benchmarks.references.echo") as echo:
        yield _bare(echo)


def _bare(server: Child) -> Contestant:
    return Contestant(port=server.ready["port"], pid=server.process.pid)


@contextmanager
def load(contestant: Contestant, count: int, *, reads: bool = True) -> Iterator[Child]:
    """So many clients of a server, in a process of their own."""
    asked = {
        "port": contestant.port,
        "auth": contestant.auth,
        "count": count,
        "greeted": contestant.greeted,
        "reads": reads,
    }
    with child("benchmarks.load", json.dumps(asked)) as clients:
        yield clients
