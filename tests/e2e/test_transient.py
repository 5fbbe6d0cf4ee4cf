"""Failures that pass: replies that are lost, errors that come once, calls that hang.

Between the service and a real engine stands a proxy that spoils what the test names.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread

from tests.e2e.client import Client
from tests.e2e.service import Service
from tests.e2e.sights import becomes, on_engine, settled, until
from tests.support.engine import DockerEngine
from tests.support.engine_proxy import EngineProxy
from tests.support.engine_relay import Fault
from tests.support.images import FLOW_IMAGE
from tests.support.restartable_engine import RestartableEngine

pytestmark = [pytest.mark.anyio, pytest.mark.docker, pytest.mark.trouble]

CREATE = r"^POST /.*/containers/create"
START = r"^POST /.*/containers/[^/]+/start"
#: Seconds of one engine call in these tests.
CALL = "3"
#: Seconds that a shutdown may take.
SHUTDOWN = 10.0
SLEEPS = ("-c", "import time; time.sleep(600)")


@pytest.fixture
def proxy(docker_engine: DockerEngine) -> Iterator[EngineProxy]:
    with EngineProxy(docker_engine.url) as made:
        yield made


@pytest.fixture
def service(proxy: EngineProxy, flow_image: str, tmp_path: Path) -> Iterator[Service]:
    """The service behind the proxy; it is not patient with single calls."""
    made = Service(tmp_path, "docker", flow_image, proxy.url, FLOW_MANAGER_REQUEST_TIMEOUT=CALL)
    with made as running:
        yield running
    # Shown where the test failed.
    print(*running.lines, sep="\n")


async def named(engine: DockerEngine, name: str) -> list[str]:
    """The ids of the containers of a name, by the engine's own word."""
    found = await on_engine(
        engine, lambda c: c.containers(all=True, filters={"name": f"^/{name}$"})
    )
    return [each["Id"][:12] for each in found]


async def of_instance(engine: DockerEngine, service: Service) -> set[str]:
    """The ids of all containers that bear the service's label."""
    label = f"flow-manager.instance={service.socket_dir.parent.name}"
    found = await on_engine(engine, lambda c: c.containers(all=True, filters={"label": label}))
    return {each["Id"][:12] for each in found}


async def create(client: Client, name: str, **payload: Any) -> dict[str, Any]:
    return await client.ask(
        "create_container",
        image=client.service.image,
        name=name,
        command=client.service.command(*SLEEPS),
        stop_timeout=1,
        request_id=f"request-{name}",
        **payload,
    )


async def nobody_is_unknown(client: Client, engine: DockerEngine) -> set[str]:
    """Wait until the engine has of ours just what the manager lists; return it."""

    async def alike() -> bool:
        listed = await client.ask("list_containers")
        known = {each["id"] for each in listed.get("containers", [])}
        return not listed.get("error") and known == await of_instance(engine, client.service)

    await until(alike)
    return await of_instance(engine, client.service)


@pytest.mark.parametrize("fault", [Fault.LOSE_REPLY, Fault.CUT_REPLY])
async def test_a_create_whose_reply_is_lost_is_looked_up_and_never_made_twice(
    client: Client, proxy: EngineProxy, docker_engine: DockerEngine, fault: Fault
) -> None:
    name = f"lost-{fault.name.lower().replace('_', '-')}"
    rule = proxy.rule(CREATE, fault, times=1)
    first = await create(client, name, start=True)
    assert rule.hits == 1
    if first.get("error"):
        assert first["error_type"] == "docker_api_error"
        assert first["details"]["retryable"] is True
    again = await create(client, name, start=True)
    assert not again.get("error"), again
    assert again["status"] == "running"
    if not first.get("error"):
        assert again["container_id"] == first["container_id"]
        client._made.pop()
    assert await named(docker_engine, name) == [again["container_id"]]
    assert await nobody_is_unknown(client, docker_engine) == {again["container_id"]}


async def test_a_create_that_never_reaches_the_engine_can_be_sent_again(
    client: Client, proxy: EngineProxy, docker_engine: DockerEngine
) -> None:
    proxy.rule(CREATE, Fault.HOLD, times=1)
    first = await create(client, "held")
    assert len(await named(docker_engine, "held")) == (0 if first.get("error") else 1)
    again = await create(client, "held")
    assert not again.get("error"), again
    if not first.get("error"):
        assert client._made.pop() == again["container_id"]
    assert await named(docker_engine, "held") == [again["container_id"]]


@pytest.mark.parametrize("times", [1, 2])
async def test_a_start_that_fails_for_a_moment_is_tried_again(
    client: Client, proxy: EngineProxy, times: int
) -> None:
    key = (await create(client, f"hiccup-{times}"))["container_id"]
    rule = proxy.rule(START, Fault.FAIL, times=times, status=500)
    answer = await client.ask("start_container", container_id=key)
    assert answer == {"container_id": key, "status": "running"}
    assert rule.hits == times
    await settled(client)
    assert client.moves(key) == [("created", "running")]


async def test_a_start_that_keeps_failing_is_named_within_a_stated_time(
    client: Client, proxy: EngineProxy
) -> None:
    key = (await create(client, "never-starts"))["container_id"]
    rule = proxy.rule(START, Fault.FAIL, status=500)
    began = time.monotonic()
    answer = await client.ask("start_container", container_id=key)
    assert answer["error_type"] == "docker_api_error"
    assert answer["details"]["retryable"] is True
    # Retries are for 5 s by default, and one call may take 3 s.
    assert time.monotonic() - began < 10
    assert rule.hits > 1
    proxy.restore()
    assert not (await client.ask("start_container", container_id=key)).get("error")


async def test_a_start_whose_reply_is_lost_is_one_start(
    client: Client, proxy: EngineProxy, docker_engine: DockerEngine
) -> None:
    key = (await create(client, "lost-start"))["container_id"]
    proxy.rule(START, Fault.CUT_REPLY, times=1)
    answer = await client.ask("start_container", container_id=key)
    assert not answer.get("error"), answer
    await settled(client)
    assert client.moves(key) == [("created", "running")]
    found = await on_engine(docker_engine, lambda c: c.inspect_container(key))
    assert found["RestartCount"] == 0
    assert found["State"]["Running"]


async def test_a_stop_whose_reply_is_lost_is_a_stop(client: Client, proxy: EngineProxy) -> None:
    key = (await create(client, "lost-stop", start=True))["container_id"]
    proxy.rule(r"^POST /.*/stop", Fault.CUT_REPLY, times=1)
    answer = await client.ask("stop_container", container_id=key)
    assert answer == {"container_id": key, "status": "stopped"}
    await settled(client)
    assert client.moves(key) == [("created", "running"), ("running", "stopped")]
    assert client.told("container_crashed") == []


async def test_a_delete_whose_reply_is_lost_is_a_delete(
    client: Client, proxy: EngineProxy, docker_engine: DockerEngine
) -> None:
    key = (await create(client, "lost-delete", start=True))["container_id"]
    proxy.rule(r"^DELETE /.*/containers", Fault.CUT_REPLY, times=1)
    answer = await client.ask("delete_container", container_id=key)
    assert answer == {"container_id": key, "status": "deleted"}
    client._made.clear()
    assert await nobody_is_unknown(client, docker_engine) == set()
    assert not list(client.service.socket_dir.iterdir())


async def test_a_call_that_hangs_slows_neither_the_others_nor_the_shutdown(
    service: Service, proxy: EngineProxy
) -> None:
    answers: list[Any] = []
    async with Client(service) as client, Client(service) as other:
        stuck = (await create(client, "stuck", start=True))["container_id"]
        free = (await create(client, "free"))["container_id"]
        client._made.clear()
        rule = proxy.rule(rf"^POST /.*/{stuck}[0-9a-f]*/stop", Fault.HOLD)

        async def stop() -> None:
            payload = {"container_id": stuck, "timeout": 60}
            answers.append(await client.io.call("stop_container", payload, timeout=60))

        async with anyio.create_task_group() as group:
            group.start_soon(stop)

            async def asked() -> bool:
                return rule.hits > 0

            await until(asked)
            for request in ("start", "restart", "stop", "delete"):
                began = time.monotonic()
                answer = await other.ask(f"{request}_container", container_id=free)
                assert not answer.get("error"), answer
                assert time.monotonic() - began < 5
            assert not answers
            began = time.monotonic()
            assert await to_thread.run_sync(service.stop) == 0
            assert time.monotonic() - began < SHUTDOWN
    assert answers[0]["error_type"] == "system_error"
    proxy.restore()
    await to_thread.run_sync(service.start)
    async with Client(service) as client:
        assert not (await client.ask("delete_container", container_id=stuck)).get("error")


async def test_a_create_that_a_frozen_engine_makes_later_is_known_or_removed(
    restartable_engine: RestartableEngine, tmp_path: Path
) -> None:
    service = Service(
        tmp_path, "docker", FLOW_IMAGE, restartable_engine.url, FLOW_MANAGER_REQUEST_TIMEOUT=CALL
    )
    answers: list[dict[str, Any]] = []
    await to_thread.run_sync(service.start)
    try:
        async with Client(service) as client:

            async def ask(name: str) -> None:
                payload = {
                    "image": FLOW_IMAGE,
                    "name": name,
                    "command": service.command(*SLEEPS),
                    "request_id": f"frozen-{name}",
                }
                answers.append(await client.io.call("create_container", payload, timeout=60))

            restartable_engine.freeze()
            try:
                async with anyio.create_task_group() as group:
                    for name in ("frozen-1", "frozen-2"):
                        group.start_soon(ask, name)
            finally:
                restartable_engine.thaw()
            for answer in answers:
                assert answer["error_type"] == "docker_api_error"
                assert answer["details"]["retryable"] is True
            await becomes(service, "healthy")
            await settled(client)
            await nobody_is_unknown(client, restartable_engine)
            again = await create(client, "frozen-1", start=True)
            assert again.get("container_id"), again
            assert await named(restartable_engine, "frozen-1") == [again["container_id"]]
            assert again["container_id"] in await nobody_is_unknown(client, restartable_engine)
    finally:
        await to_thread.run_sync(service.__exit__, None, None, None)
