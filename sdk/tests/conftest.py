"""A manager's side for each test, and flows that are stopped at its end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flow_manager_sdk import Flow
from sdk.tests.sdk_peer import Peer


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    peer = Peer(tmp_path / "flow.sock")
    yield peer
    peer.close()


@pytest.fixture
def running(peer: Peer) -> Iterator[Callable[..., Flow]]:
    """Start a flow in a thread, with handlers by command."""
    started: list[tuple[Flow, threading.Thread]] = []

    def run(handlers: dict[str, Callable[..., Any]] | None = None, **options: Any) -> Flow:
        flow = Flow(str(peer.path), **options)
        for command, handler in (handlers or {}).items():
            flow.on(command)(handler)
        thread = threading.Thread(target=flow.run)
        started.append((flow, thread))
        thread.start()
        return flow

    yield run
    for flow, thread in started:
        flow.stop()
        thread.join(10)
        assert not thread.is_alive()
