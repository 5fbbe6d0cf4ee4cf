"""One request is found in the log by its id: in all lines that it caused, and in no others."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
from anyio import to_thread

from flow_manager_core.errors import EngineError
from flow_manager_core.log import ROOT, get_log
from flow_manager_core.trace import current_asker, current_request, for_nobody, tracing
from tests.core.test_manager import NETWORK, House, house

pytestmark = pytest.mark.anyio

LOG = get_log("test")


class Kept(logging.Handler):
    """Keeps what each line says, with its request."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str, str | None, dict[str, Any]]] = []

    def emit(self, record: logging.LogRecord) -> None:
        fields = dict(record.__dict__["flow_manager"])
        self.lines.append((fields.pop("event"), fields.pop("request_id", None), fields))

    def of(self, request_id: str | None) -> list[str]:
        return [event for event, of, _ in self.lines if of == request_id]


@pytest.fixture
def kept() -> Iterator[Kept]:
    handler, logger = Kept(), logging.getLogger(ROOT)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.setLevel(level)
    logger.removeHandler(handler)


def count_thread() -> None:
    LOG.debug("in a thread")


async def test_a_line_of_a_task_or_a_thread_carries_the_request_while_that_is_under_way(
    kept: Kept,
) -> None:
    released = anyio.Event()

    async def outlives() -> None:
        LOG.info("begun")
        await released.wait()
        LOG.info("much later")
        await to_thread.run_sync(count_thread)

    async with anyio.create_task_group() as group:
        with tracing("one", "ci"):
            group.start_soon(outlives)
            await anyio.wait_all_tasks_blocked()
            await to_thread.run_sync(count_thread)
            with for_nobody():
                LOG.info("nobody's")
                assert (current_request(), current_asker()) == (None, None)
            assert (current_request(), current_asker()) == ("one", "ci")
            with tracing(None, "other"):
                assert (current_request(), current_asker()) == ("one", "other")
        assert (current_request(), current_asker()) == (None, None)
        released.set()
    assert kept.of("one") == ["begun", "in a thread"]
    assert kept.of(None) == ["nobody's", "much later", "in a thread"]


async def ask(h: House, request_id: str, operation: str, **payload: Any) -> None:
    await h.manager.execute(operation, {"request_id": request_id, **payload})


async def a_life(h: House, of: str) -> None:
    """A container of `of`, through everything that logs; each request has an id of its own."""
    h.engine.faults["create"] = EngineError("busy", retryable=True)
    async with anyio.create_task_group() as group:
        group.start_soon(mend, h)
        await ask(h, f"{of} create", "create_container", image="flow", name=of, start=True)
    record = h.manager._services.registry.find(of)  # type: ignore[union-attr]
    await h.until(lambda: record.connected)
    message = {"command": "x", "data": of}
    await ask(h, f"{of} send", "send_message", container_id=of, message=message, reply=True)
    with pytest.raises(EngineError):
        await ask(h, f"{of} wrong", "create_container", image="flow", name=of)
    h.engine.kill(next(b for b in h.engine.boxes["default"].values() if b.seen.name == of), 9)
    await h.until(lambda: not record.state.alive)
    await ask(h, f"{of} start", "start_container", container_id=of)
    await h.until(lambda: record.connected)
    await ask(h, f"{of} stop", "stop_container", container_id=of, timeout=5)
    await ask(h, f"{of} delete", "delete_container", container_id=of)


async def mend(h: House) -> None:
    """End the fault once it was met."""
    await anyio.sleep(0.02)
    h.engine.faults.clear()


async def test_each_line_names_the_request_that_caused_it_and_no_other(kept: Kept) -> None:
    async with house(network=NETWORK) as h, anyio.create_task_group() as group:
        for of in ("red", "blue"):
            group.start_soon(a_life, h, of)
    ids = {f"{of} {step}" for of in ("red", "blue") for step in STEPS}
    assert {of for _, of, _ in kept.lines} == {None, *ids}
    for of in ("red", "blue"):
        assert "Trying again" in kept.of(f"{of} create")
        for step, told in STEPS.items():
            assert told in kept.of(f"{of} {step}"), (step, kept.lines)
    # What nobody asked for is nobody's, even of a program that a request started.
    for told in ("Container crashed",):
        assert kept.of(None).count(told) == 2
    assert not [of for event, of, _ in kept.lines if event == "Container crashed" and of]


#: A line that each request must leave.
STEPS = {
    "create": "Container operation: create",
    "send": "Socket communication: sent",
    "wrong": "Operation: create_container",
    "start": "Container operation: start",
    "stop": "Container status",
    "delete": "Container operation: delete",
}
