"""What containers use of an engine that is not on this host: it listens on a TCP port here."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import urlsplit

import anyio
import pytest

from flow_manager_core.log import get_log
from flow_manager_core.models import Resources, ResourceUsage
from flow_manager_docker import DockerBackend
from flow_manager_docker.cgroup import Reading
from flow_manager_docker.stats_connection import Endpoint
from flow_manager_docker.stats_reading import parse_stats, tells_nothing
from flow_manager_docker.stats_streams import StatsStreams
from plugins.docker.tests.test_docker_commands import processes_of
from plugins.docker.tests.workshop import Workshop, clear, until
from tests.support.engine_proxy import EngineProxy

pytestmark = pytest.mark.anyio

on_an_engine = pytest.mark.docker

LIMIT = 64 * 1024 * 1024
STREAMS = r"GET \S*/stats"
BUSY = "b = b'x' * (32 * 1024 * 1024); print('ready', flush=True)\nwhile True: pass"


@pytest.fixture
def anyio_backend() -> str:
    """One loop for most: engines give a sample a second, and each test waits for some."""
    return "asyncio"


@pytest.fixture
def far(docker_env: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[EngineProxy]:
    """The tests' engine, behind a port."""
    if not docker_env.url.startswith("unix://"):
        pytest.skip("the proxy stands before a local socket")
    with EngineProxy(docker_env.url, tcp=True) as made:
        monkeypatch.setenv("DOCKER_HOST", made.url)
        yield made


@pytest.fixture
async def backend(shop: Workshop, far: EngineProxy) -> AsyncIterator[DockerBackend]:
    """A backend for which the engine is elsewhere."""
    async with shop.open() as opened:
        assert isinstance(opened, DockerBackend)
        yield opened
        with anyio.CancelScope(shield=True):
            await clear(opened)


async def used(backend: DockerBackend, container_id: str) -> ResourceUsage:
    found: ResourceUsage = await until(lambda: backend.usage(container_id))
    return found


async def closed(far: EngineProxy) -> bool:
    return far.open(STREAMS) == 0


@on_an_engine
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_an_engine_elsewhere_tells_what_its_containers_use(
    backend: DockerBackend, shop: Workshop
) -> None:
    resources = Resources(memory=LIMIT, cpus=0.5)
    busy = await shop.running(backend, shop.script("busy", BUSY, resources=resources))
    idle = await shop.running(backend, shop.plan("idle"))

    async def measured() -> bool:
        found = await backend.usages([busy, idle])
        return all(each in found and found[each].cpu_percent for each in (busy, idle))

    await until(measured)
    found = await backend.usages([busy, idle, "0" * 64])
    assert set(found) == {busy, idle}
    assert 32 * 1024 * 1024 < (found[busy].memory_usage or 0) < LIMIT == found[busy].memory_limit
    assert 50 < (found[busy].memory_percent or 0) < 100
    assert found[busy].pids == 2  # the init and the program
    assert None not in (found[busy].network_rx_bytes, found[busy].disk_read_bytes)
    assert (found[idle].cpu_percent or 0) < 10 < (found[busy].cpu_percent or 0) < 80


@on_an_engine
async def test_asking_waits_for_nothing_and_one_stream_serves_all_who_ask(
    backend: DockerBackend, shop: Workshop, far: EngineProxy
) -> None:
    made = await shop.running(backend, shop.plan("a"))
    assert await backend.usage(made) is None
    before = await used(backend, made)
    far.freeze()
    with anyio.fail_after(5):  # an engine that does not answer is given 30 seconds
        assert [await backend.usage(made) for _ in range(3)] == [before] * 3
    far.restore()
    assert len(far.calls(STREAMS)) == 1


@on_an_engine
async def test_a_stream_ends_with_its_run_and_another_run_has_another(
    backend: DockerBackend, shop: Workshop, far: EngineProxy
) -> None:
    made = await shop.running(backend, shop.plan("a"))
    await used(backend, made)
    await backend.stop(made, 0)

    async def silent() -> bool:
        return await backend.usage(made) is None

    await until(silent)
    await backend.start(made)
    assert (await used(backend, made)).memory_usage
    await backend.remove(made)

    await until(lambda: closed(far))


@on_an_engine
async def test_an_outage_ends_the_streams_and_its_end_opens_others(
    backend: DockerBackend, shop: Workshop, far: EngineProxy
) -> None:
    made = await shop.running(backend, shop.plan("a"))
    await used(backend, made)
    far.refuse()

    async def nothing() -> bool:
        return not await backend.usages([made])

    await until(nothing)
    far.restore()
    await used(backend, made)


@on_an_engine
async def test_no_more_streams_are_open_than_the_operator_lets(
    shop: Workshop, far: EngineProxy
) -> None:
    async with shop.open(stats_streams=1) as backend:
        first, second = [await shop.running(backend, shop.plan(name)) for name in "ab"]
        assert isinstance(backend, DockerBackend)
        await used(backend, first)
        assert set(await backend.usages([first, second])) == {first}
        assert far.open(STREAMS) == 1
        await backend.remove(first)
        await used(backend, second)
        await clear(backend)


@on_an_engine
async def test_a_stream_ends_when_nobody_asks(shop: Workshop, far: EngineProxy) -> None:
    at = urlsplit(far.url)
    endpoint = Endpoint(at.hostname or "", at.port or 0)
    async with shop.open() as backend, anyio.create_task_group() as group:
        made = await shop.running(backend, shop.plan("a"))
        streams = StatsStreams(group, get_log("test"), most=9, idle=0.2, timeout=10)
        streams.ask(endpoint, [made])

        async def ended() -> bool:
            return len(streams) == 0

        assert not await ended()
        await until(ended)
        await clear(backend)


@on_an_engine
async def test_the_streams_end_with_the_backend(shop: Workshop, far: EngineProxy) -> None:
    async with shop.open() as backend:
        made = await shop.running(backend, shop.plan("a"))
        assert isinstance(backend, DockerBackend)
        await used(backend, made)
        assert far.open(STREAMS) == 1

    await until(lambda: closed(far))
    async with shop.open() as backend:
        await clear(backend)


def line(**changes: Any) -> bytes:
    found = {
        "read": "2026-01-01T00:00:01.123456789Z",
        "pids_stats": {"current": 3},
        "cpu_stats": {"cpu_usage": {"total_usage": 2_500_000_000}},
        "memory_stats": {"usage": 5000, "stats": {"inactive_file": 1000}, "limit": 8000},
        "blkio_stats": {
            "io_service_bytes_recursive": [
                {"op": "Read", "value": 1},
                {"op": "read", "value": 2},
                {"op": "Write", "value": 4},
                {"op": "Total", "value": 7},
            ]
        },
        "networks": {
            "eth0": {"rx_bytes": 1, "tx_bytes": 2},
            "eth1": {"rx_bytes": 3, "tx_bytes": 4},
        },
    }
    return json.dumps(found | changes).encode()


@on_an_engine
async def test_a_command_that_cannot_be_killed_is_late_each_time_and_the_only_one(
    backend: DockerBackend, shop: Workshop
) -> None:
    made = await shop.running(backend, shop.plan("a"))
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await backend.run_command(made, ["python3", "-c", "import time; time.sleep(73)"], 0.5)
    assert len([line for line in processes_of(made) if "time.sleep(73" in line]) == 1


def test_a_line_of_stats_is_read_in_the_words_of_either_control_groups() -> None:
    at, found = parse_stats(line())
    assert at == pytest.approx(1767225601.123456)
    assert found == Reading(
        cpu_seconds=2.5, memory=4000, memory_limit=8000, pids=3, disk=(3, 4), network=(4, 6)
    )
    old = {"usage": 5000, "stats": {"total_inactive_file": 2000, "inactive_file": 1}, "limit": 8000}
    assert parse_stats(line(memory_stats=old))[1].memory == 3000


def test_what_an_engine_does_not_tell_of_a_container_is_left_out() -> None:
    nothing = {"io_service_bytes_recursive": None}
    told = line(networks=None, blkio_stats=nothing, memory_stats={}, pids_stats={})
    assert parse_stats(told)[1] == Reading(cpu_seconds=2.5)


@pytest.mark.parametrize("told", [b"", b"no JSON", b"[]", b'{"message": "no"}', line(cpu_stats=[])])
def test_what_is_no_line_of_stats_is_named(told: bytes) -> None:
    with pytest.raises(ValueError, match=r"no line of stats|Expecting value"):
        parse_stats(told)


def test_a_container_that_does_not_run_is_known_by_its_line() -> None:
    assert tells_nothing(line(read="0001-01-01T00:00:00Z").replace(b": ", b":"))
    assert not tells_nothing(line())
