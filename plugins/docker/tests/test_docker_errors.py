"""Every failure of the Docker backend, by its documented cause, on a real engine."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from flow_manager_core.errors import EngineError, EngineUnavailable, ImageNotFound
from flow_manager_core.log import get_log
from flow_manager_core.models import ContainerState, Mount, PortMapping, Resources
from flow_manager_core.providers import ProviderContext
from flow_manager_core.settings import Settings
from flow_manager_docker import DockerBackend, DockerSettings
from flow_manager_docker.plugin import PROVIDER
from flow_manager_docker.probe import probe
from plugins.docker.tests.workshop import Workshop

pytestmark = [pytest.mark.anyio, pytest.mark.docker]

SECRET = "hunter2-hunter2"


async def test_a_missing_image_is_named(backend: DockerBackend, shop: Workshop) -> None:
    for code in (None, "/code"):
        plan = shop.plan("a", code_path=code)
        plan = evolve(plan, spec=evolve(plan.spec, image="flow-manager-test/absent:1"))
        with pytest.raises(ImageNotFound, match="flow-manager-test/absent:1"):
            await backend.create(plan)
    assert not await backend.has_image("flow-manager-test/absent:1")
    assert await backend.has_image(shop.image)


async def test_a_name_in_use_is_told_as_that(backend: DockerBackend, shop: Workshop) -> None:
    await backend.create(shop.plan("a"))
    with pytest.raises(EngineError, match=r"name .*-a is already in use") as caught:
        await backend.create(shop.plan("a"))
    assert "another name" in caught.value.hint


async def test_a_port_of_another_container_is_told(backend: DockerBackend, shop: Workshop) -> None:
    first = await backend.create(shop.plan("a", ports=(PortMapping(80, 0),)))
    await backend.start(first.id)
    taken = (await backend.inspect(first.id)).ports[0].host_port
    second = await backend.create(shop.plan("b", ports=(PortMapping(80, taken),)))
    with pytest.raises(EngineError, match="port is already allocated") as caught:
        await backend.start(second.id)
    assert str(taken) in caught.value.message
    assert "different port" in caught.value.hint
    assert (await backend.inspect(second.id)).state is ContainerState.CREATED


async def test_a_port_of_another_program_is_told(backend: DockerBackend, shop: Workshop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        made = await backend.create(shop.plan("a", ports=(PortMapping(80, port),)))
        with pytest.raises(EngineError, match="port is already allocated"):
            await backend.start(made.id)
    seen = await backend.inspect(made.id)
    assert (seen.state, seen.exit_code) == (ContainerState.CREATED, None)
    assert "address already in use" in seen.error
    await backend.start(made.id)


@pytest.mark.parametrize("init", [True, False])
@pytest.mark.parametrize("command", ["/no/such/program", "no-such-program", "/etc"])
async def test_a_command_that_cannot_start_leaves_the_container_created(
    shop: Workshop, init: bool, command: str
) -> None:
    async with shop.open(init=init) as backend:
        made = await backend.create(shop.plan("a", command))
        try:
            with pytest.raises(EngineError) as caught:
                await backend.start(made.id)
            assert type(caught.value) is EngineError
            assert command in caught.value.message
            assert "volume mounts" in caught.value.hint
            seen = await backend.inspect(made.id)
            assert (seen.state, seen.exit_code) == (ContainerState.CREATED, None)
            assert command in seen.error
        finally:
            await backend.remove(made.id)


async def test_a_missing_mount_source_is_refused_and_not_made(
    backend: DockerBackend, shop: Workshop, tmp_path: Path
) -> None:
    source = tmp_path / "absent"
    with pytest.raises(EngineError, match="absent"):
        await backend.create(shop.plan("a", volumes=(Mount(str(source), "/x"),)))
    assert not source.exists()
    assert not await backend.list()


async def test_an_unknown_network_is_told_at_the_start(
    backend: DockerBackend, shop: Workshop
) -> None:
    made = await backend.create(shop.plan("a", network="no-such-network"))
    with pytest.raises(EngineError, match="no-such-network"):
        await backend.start(made.id)
    assert (await backend.inspect(made.id)).state is ContainerState.CREATED


async def test_the_engines_own_refusals_keep_their_words_but_no_secrets(
    backend: DockerBackend, shop: Workshop
) -> None:
    with pytest.raises(EngineError, match="memory") as caught:
        await backend.create(
            shop.plan("a", resources=Resources(memory=4096), environment={"TOKEN": SECRET})
        )
    assert SECRET not in str(caught.value.details) + caught.value.message
    with pytest.raises(EngineError) as caught:
        await backend.create(shop.plan("a", environment={"": SECRET}))
    assert SECRET not in str(caught.value.details) + caught.value.message


def context(**core: Any) -> ProviderContext:
    """A backend that knows nothing of the tests' engine."""
    return ProviderContext(DockerSettings(), Settings(**core), get_log("backend.docker"))


@pytest.fixture
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")


@pytest.mark.usefixtures("away")
async def test_an_engine_that_is_away_is_told_at_once(tmp_path: Path, no_leaks: Any) -> None:
    began = time.monotonic()
    async with PROVIDER.factory(context(request_timeout=5.0)) as backend:
        assert isinstance(backend, DockerBackend)
        plan = Workshop("any").plan("a")
        for call in (
            backend.ping,
            backend.list,
            lambda: backend.create(plan),
            lambda: backend.inspect("f" * 64),
            lambda: backend.pull("a:1", lambda _: None),
        ):
            with pytest.raises(EngineUnavailable, match="No such file") as caught:
                await call()
            assert caught.value.retryable
            assert caught.value.unsent
            assert "DOCKER_HOST" in caught.value.hint
        with pytest.raises(EngineUnavailable):
            async with backend.watch():
                pytest.fail("there is nothing to watch")
    assert time.monotonic() - began < 5


@pytest.mark.usefixtures("away")
async def test_probing_says_why_docker_cannot_be_used() -> None:
    assert "No such file" in str(await probe(context()))


@pytest.mark.parametrize("host", ["tcp://127.0.0.1:x", "garbage://", "ssh://nobody@nowhere"])
async def test_a_docker_host_that_is_no_address_is_told(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    assert "not available" in str(await probe(context()))


async def test_probing_an_engine_that_answers_finds_no_fault(shop: Workshop) -> None:
    assert await probe(context()) is None


@pytest.fixture
def hung(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An engine that accepts and never answers, as a frozen one does."""
    path = f"/tmp/hung-{threading.get_native_id()}-{time.monotonic_ns()}.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
        yield
    Path(path).unlink()


@pytest.mark.usefixtures("hung")
async def test_an_engine_that_hangs_costs_no_more_than_the_deadline(no_leaks: Any) -> None:
    async with PROVIDER.factory(context(request_timeout=0.5)) as backend:
        for call in (backend.ping, backend.list):
            began = time.monotonic()
            with pytest.raises(EngineUnavailable, match=r"within 0\.5 seconds") as caught:
                await call()
            assert not caught.value.unsent
            assert time.monotonic() - began < 2
        with pytest.raises(EngineUnavailable):
            async with backend.watch():
                pytest.fail("there is nothing to watch")


@pytest.mark.usefixtures("hung")
async def test_probing_an_engine_that_hangs_takes_two_seconds() -> None:
    began = time.monotonic()
    assert "within 2 seconds" in str(await probe(context()))
    assert time.monotonic() - began < 4
