"""An engine that goes away and comes back is no crash: what is told, what runs, what answers.

The engine is the test's own: killed, frozen, ended and started again for real.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread

from tests.e2e.client import Client
from tests.e2e.service import Service
from tests.e2e.sights import (
    becomes,
    health,
    moves_since,
    on_engine,
    settled,
    told_of,
    until,
)
from tests.support.engine_proxy import EngineProxy
from tests.support.images import FLOW_IMAGE
from tests.support.restartable_engine import RestartableEngine

pytestmark = [pytest.mark.anyio, pytest.mark.docker, pytest.mark.trouble]

ON_CRASH = {"policy": "on-crash", "max_attempts": 1}
SLEEPS = ("-c", "import time; time.sleep(600)")
#: What a client hears of a container that is not as it was.
UPSETS = (
    "status_changed",
    "container_crashed",
    "recovery_scheduled",
    "container_recovered",
    "recovery_gave_up",
    "socket_disconnected",
)
ALL_OF_RECOVERY = ("recovery_scheduled", "container_recovered", "recovery_gave_up")
#: Seconds in which a request that needs an engine that is away fails.
FAST = 1.0


@pytest.fixture
def live_restore() -> bool:
    """Whether flows outlive the engine; a test says so by its parameters."""
    return False


@pytest.fixture
def engine(restartable_engine: RestartableEngine, live_restore: bool) -> RestartableEngine:
    """The engine that the test mistreats."""
    restartable_engine.ensure(live_restore=live_restore)
    return restartable_engine


@pytest.fixture
def proxy(engine: RestartableEngine) -> Iterator[EngineProxy]:
    with EngineProxy(engine.url) as made:
        yield made


@pytest.fixture
def service(
    engine: RestartableEngine, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Service]:
    """The service on that engine; through the proxy, if the test has one."""
    behind = "proxy" in request.fixturenames
    url = request.getfixturevalue("proxy").url if behind else engine.url
    with Service(tmp_path, "docker", FLOW_IMAGE, url) as running:
        yield running
    # Shown where the test failed.
    print(*running.lines, sep="\n")


class Flows:
    """The flows of one test, and what the engine itself says of them."""

    def __init__(self, client: Client, engine: RestartableEngine, code: Path) -> None:
        self.client = client
        self.engine = engine
        self.code = str(code)

    async def running(self, **restart: Any) -> str:
        return await self.client.running(code_path=self.code, restart=restart or ON_CRASH)

    async def run(self, container_id: str) -> tuple[Any, ...]:
        """What names a run, by the engine's word: its process and when it began."""
        found = await on_engine(self.engine, lambda c: c.inspect_container(container_id)["State"])
        return found["Pid"], found["StartedAt"]

    async def answers(self, container_id: str) -> bool:
        return bool(await self.client.question(container_id, "echo", "there?") == "there?")

    async def ends_alone(self, container_id: str, code: int) -> None:
        """Let it end by itself, and wait until its channel is down."""
        mark = len(self.client.events)
        await self.client.say(container_id, "exit", code)
        await self.client.event("socket_disconnected", since=mark, container_id=container_id)


@pytest.fixture
async def flows(client: Client, engine: RestartableEngine, code: Path) -> Flows:
    return Flows(client, engine, code)


async def fails_fast(client: Client, request: str, **payload: Any) -> None:
    began = time.monotonic()
    answer = await client.ask(request, **payload)
    assert time.monotonic() - began < FAST
    assert answer.get("error_type") == "docker_api_error", answer
    assert answer["details"]["retryable"] is True
    assert answer["details"]["operation"] == request
    assert answer["details"]["hint"]


async def every_request_fails_fast(client: Client, service: Service, container_id: str) -> None:
    """All that need the engine; nothing of it may come true later."""
    for request in ("start", "stop", "restart", "delete"):
        await fails_fast(client, f"{request}_container", container_id=container_id)
    await fails_fast(client, "get_container_status", container_id=container_id)
    await fails_fast(client, "get_container_logs", container_id=container_id)
    await fails_fast(client, "list_containers")
    await fails_fast(client, "create_container", image=service.image, name="never-made")


async def is_recovered_for_free(flows: Flows, container_id: str, mark: int) -> None:
    """The outage cost it nothing: its one restart is still there when it crashes in earnest."""
    client = flows.client
    await client.event("container_recovered", since=mark, container_id=container_id, attempt=0)
    await client.event("socket_connected", since=mark, container_id=container_id)
    assert await flows.answers(container_id)
    assert "recovery_gave_up" not in told_of(client, container_id, *UPSETS, since=mark)
    mark = len(client.events)
    await client.say(container_id, "exit", 4)
    await client.event("container_crashed", since=mark, container_id=container_id, exit_code=4)
    await client.event("container_recovered", since=mark, container_id=container_id, attempt=1)
    await client.event("socket_connected", since=mark, container_id=container_id)


async def test_flows_that_a_killed_engine_took_along_come_back_without_cost(
    flows: Flows, service: Service, engine: RestartableEngine
) -> None:
    client = flows.client
    wanted = await flows.running()
    always = await flows.running(policy="always")
    # Asked by the returning engine, this one ends with code 0, the next by the signal.
    left = await flows.running(policy="never")
    blunt = await client.create(command=service.command(*SLEEPS), start=True)
    stopped = await flows.running()
    await client.ask("stop_container", container_id=stopped)
    mark = len(client.events)
    await to_thread.run_sync(engine.kill)
    await becomes(service, "degraded")
    for container_id in (wanted, always, left):
        assert await flows.answers(container_id)
    await every_request_fails_fast(client, service, wanted)
    assert told_of(client, wanted, *UPSETS, since=mark) == []

    await to_thread.run_sync(engine.start)
    await is_recovered_for_free(flows, wanted, mark)
    await client.event("container_recovered", since=mark, container_id=always, attempt=0)
    await client.event("status_changed", since=mark, container_id=blunt, new_state="exited")
    await client.event("status_changed", since=mark, container_id=left, new_state="stopped")
    await becomes(service, "healthy")
    await settled(client)
    assert moves_since(client, wanted, mark)[:2] == [("running", "stopped"), ("stopped", "running")]
    for each, state in ((left, "stopped"), (blunt, "exited")):
        assert moves_since(client, each, mark) == [("running", state)]
        assert told_of(client, each, "container_crashed", *ALL_OF_RECOVERY, since=mark) == []
    assert told_of(client, always, "container_crashed", since=mark) == []
    assert told_of(client, wanted, "container_crashed", since=mark) == ["container_crashed"]
    assert told_of(client, stopped, *UPSETS, since=mark) == []
    listed = await client.ask("list_containers")
    assert {each["id"]: each["status"] for each in listed["containers"]} == {
        wanted: "running",
        always: "running",
        left: "stopped",
        blunt: "exited",
        stopped: "stopped",
    }
    # What the outage ended is as good as any other that has ended.
    assert not (await client.ask("start_container", container_id=left)).get("error")


@pytest.mark.parametrize("live_restore", [True])
async def test_with_live_restore_nothing_happens_to_a_flow(
    flows: Flows, service: Service, engine: RestartableEngine
) -> None:
    client = flows.client
    both = [await flows.running(), await flows.running(policy="never")]
    runs = [await flows.run(each) for each in both]
    mark = len(client.events)
    for end in (engine.kill, engine.terminate):
        await to_thread.run_sync(end)
        await becomes(service, "degraded")
        for each in both:
            assert await flows.answers(each)
        await fails_fast(client, "get_container_status", container_id=both[0])
        await to_thread.run_sync(lambda: engine.start(live_restore=True))
        await becomes(service, "healthy")
        await settled(client)
    assert [await flows.run(each) for each in both] == runs
    for each in both:
        assert await flows.answers(each)
        assert told_of(client, each, *UPSETS, since=mark) == []
    # The events come again, and are believed.
    await client.say(both[0], "exit", 3)
    await client.event("container_recovered", since=mark, container_id=both[0], attempt=1)


async def test_an_engine_that_is_ended_in_order_is_no_stop_of_its_flows(
    flows: Flows, service: Service, engine: RestartableEngine
) -> None:
    client = flows.client
    wanted, left = await flows.running(), await flows.running(policy="never")
    mark = len(client.events)
    await to_thread.run_sync(engine.terminate)
    await becomes(service, "degraded")
    await fails_fast(client, "list_containers")
    await to_thread.run_sync(engine.start)
    await is_recovered_for_free(flows, wanted, mark)
    await becomes(service, "healthy")
    await settled(client)
    # The flow ends with code 0 when it is asked to, and the engine asks.
    assert moves_since(client, left, mark) == [("running", "stopped")]
    assert told_of(client, left, "container_crashed", *ALL_OF_RECOVERY, since=mark) == []


async def test_an_engine_that_is_frozen_keeps_nobody(
    flows: Flows, service: Service, engine: RestartableEngine
) -> None:
    client = flows.client
    flow = await flows.running()
    run, mark = await flows.run(flow), len(client.events)
    engine.freeze()
    try:
        await becomes(service, "degraded")
        assert await flows.answers(flow)
        await every_request_fails_fast(client, service, flow)
    finally:
        engine.thaw()
    await becomes(service, "healthy")
    await settled(client)
    assert await flows.answers(flow)
    assert await flows.run(flow) == run
    assert told_of(client, flow, *UPSETS, since=mark) == []
    assert (await client.ask("list_containers"))["count"] == 1


@pytest.mark.parametrize("live_restore", [False, True])
async def test_a_flow_that_ends_by_itself_during_an_outage_is_told_as_what_it_was(
    flows: Flows,
    service: Service,
    engine: RestartableEngine,
    live_restore: bool,
) -> None:
    client = flows.client
    crashed, wanted = await flows.running(policy="never"), await flows.running()
    done = await flows.running()
    mark = len(client.events)
    await to_thread.run_sync(engine.kill)
    await becomes(service, "degraded")
    await flows.ends_alone(crashed, 3)
    await flows.ends_alone(wanted, 3)
    await flows.ends_alone(done, 0)
    assert client.told("container_crashed") == []
    await to_thread.run_sync(lambda: engine.start(live_restore=live_restore))
    crash = await client.event("container_crashed", since=mark, container_id=crashed)
    assert crash["exit_code"] == 3
    assert crash["crash_details"]["signal"] is None
    await client.event("container_crashed", since=mark, container_id=wanted, exit_code=3)
    await client.event("container_recovered", since=mark, container_id=wanted, attempt=1)
    await client.event("status_changed", since=mark, container_id=done, new_state="stopped")
    await becomes(service, "healthy")
    await settled(client)
    assert told_of(client, crashed, "container_crashed", *ALL_OF_RECOVERY, since=mark) == [
        "container_crashed"
    ]
    assert told_of(client, wanted, "container_crashed", since=mark) == ["container_crashed"]
    assert told_of(client, done, "container_crashed", *ALL_OF_RECOVERY, since=mark) == []
    assert moves_since(client, crashed, mark) == [("running", "exited")]


async def test_a_stream_of_events_that_falls_silent_is_noticed(
    proxy: EngineProxy, flows: Flows, service: Service
) -> None:
    client = flows.client
    flow = await flows.running(policy="never")
    opened = len(proxy.calls("^GET /.*/events"))
    assert proxy.silence("^GET /.*/events") >= 1
    mark = len(client.events)
    await client.say(flow, "exit", 3)
    await client.event("container_crashed", since=mark, container_id=flow, exit_code=3)

    async def opened_again() -> bool:
        return len(proxy.calls("^GET /.*/events")) > opened

    await until(opened_again)
    await settled(client)
    assert told_of(client, flow, "container_crashed", since=mark) == ["container_crashed"]
    # Now the events tell it: long before a listing would.
    assert not (await client.ask("start_container", container_id=flow)).get("error")
    await client.event("socket_connected", since=mark, container_id=flow)
    mark, began = len(client.events), time.monotonic()
    await client.say(flow, "exit", 5)
    await client.event("container_crashed", since=mark, container_id=flow, exit_code=5)
    assert time.monotonic() - began < 2


async def test_a_stream_of_events_that_is_cut_costs_no_event(
    proxy: EngineProxy, flows: Flows, service: Service
) -> None:
    client = flows.client
    flow, steady = await flows.running(policy="never"), await flows.running()
    mark = len(client.events)
    proxy.refuse()
    await becomes(service, "degraded")
    await flows.ends_alone(flow, 3)
    assert await flows.answers(steady)
    proxy.restore()
    await client.event("container_crashed", since=mark, container_id=flow, exit_code=3)
    await becomes(service, "healthy")
    await settled(client)
    assert told_of(client, flow, "container_crashed", since=mark) == ["container_crashed"]
    assert told_of(client, steady, *UPSETS, since=mark) == []


async def test_an_outage_shorter_than_a_look_loses_nothing(
    flows: Flows, service: Service, engine: RestartableEngine
) -> None:
    """Killed and back at once, twice: nobody may have asked it in between."""
    client = flows.client
    wanted = await flows.running(policy="always")
    for _ in range(2):
        mark = len(client.events)
        await to_thread.run_sync(engine.kill)
        await to_thread.run_sync(engine.start)
        await client.event("container_recovered", since=mark, container_id=wanted, attempt=0)
        await client.event("socket_connected", since=mark, container_id=wanted)
    await becomes(service, "healthy")
    await settled(client)
    assert client.told("container_crashed", "recovery_gave_up") == []
    assert (await health(service))["status"] == "healthy"
