"""A service that is out of descriptors: it says so in few words, and gets well by itself."""

from __future__ import annotations

import resource
import time
from contextlib import ExitStack
from pathlib import Path

import psutil

from tests.e2e.service import Service
from tests.support.socketio_wire import Wire, port_of

SPARE = 40


def test_service_out_of_descriptors_says_so_once_and_gets_well_by_itself(tmp_path: Path) -> None:
    # More strangers are allowed than there are descriptors, so that these do run out.
    environ = {"FLOW_MANAGER_SOCKETIO_MAX_STRANGERS": "5000", "LOG_LEVEL": "INFO"}
    with Service(tmp_path, "process", "python", "", **environ) as service:
        assert service.process is not None
        pid = service.process.pid
        with Wire(port_of(service.url)).enter(service.token) as client:
            client.ask("list_containers", {})
            limit = psutil.Process(pid).num_fds() + SPARE
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, limit))
            with ExitStack() as crowd:
                for _ in range(SPARE * 3):
                    crowd.enter_context(Wire(port_of(service.url)))
                told = len(service.lines)
                end = time.monotonic() + 10
                while not any("No connection can be taken" in line for line in service.lines):
                    assert time.monotonic() < end, service.lines[told:]
                    time.sleep(0.02)
                assert client.ask("list_containers", {})["count"] == 0
                with Wire(port_of(service.url)).enter(service.token) as other:
                    assert other.ask("list_containers", {})["count"] == 0
            with Wire(port_of(service.url)).enter(service.token) as other:
                assert other.ask("list_containers", {})["count"] == 0
            assert len(service.lines) - told < 30
            assert not [line for line in service.lines if "Traceback" in line]
