"""One scenario on every combination of backend, transport and frontend.

Each service has both frontends at once; each client sees the same life.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from itertools import product
from pathlib import Path
from typing import Any

import anyio
import pytest
from attrs import frozen

from flow_manager_core import FlowManager, Settings
from flow_manager_tcp import TcpSettings
from tests.combinations.scenario import live
from tests.combinations.sides import EmbeddedSide, RabbitSide, Side, SocketIOSide
from tests.e2e.service import Service
from tests.support.podman import PODMAN_IMAGE

pytestmark = pytest.mark.anyio

BACKENDS = ("process", "docker", "podman")
TRANSPORTS = ("unix_socket", "tcp")
FRONTENDS = ("socketio", "rabbitmq")


@frozen
class Engine:
    """Where flows run.

    Args:
        url: as DOCKER_HOST has it; empty: nowhere but here.
        gateway: this host's address, for flows.
    """

    backend: str
    image: str
    url: str = ""
    gateway: str = "127.0.0.1"


def pairs() -> Iterator[Any]:
    for backend, transport in product(BACKENDS, TRANSPORTS):
        marks = () if backend == "process" else pytest.mark.docker
        yield pytest.param((backend, transport), marks=marks, id=f"{backend}-{transport}")


def engine_of(request: pytest.FixtureRequest, backend: str) -> Engine:
    if backend == "process":
        return Engine("process", "python")
    engine = request.getfixturevalue(f"{backend}_engine")
    image = PODMAN_IMAGE if backend == "podman" else request.getfixturevalue("flow_image")
    return Engine("docker", image, engine.url, engine.gateway())


@pytest.fixture(scope="module", params=list(pairs()))
def service(
    request: pytest.FixtureRequest, tmp_path_factory: Any, rabbitmq: Any
) -> Iterator[Service]:
    backend, transport = request.param
    engine = engine_of(request, backend)
    with Service(
        tmp_path_factory.mktemp(f"{backend}-{transport}"),
        engine.backend,
        engine.image,
        engine.url,
        FLOW_MANAGER_TRANSPORT=transport,
        # The gateway's address is there only once a container is.
        FLOW_MANAGER_TCP_HOST="0.0.0.0",
        FLOW_MANAGER_TCP_ADVERTISE=engine.gateway,
        FLOW_MANAGER_TCP_PORT="0",
        FLOW_MANAGER_FRONTENDS=",".join(FRONTENDS),
        FLOW_MANAGER_RABBITMQ_URL=rabbitmq.url,
    ) as running:
        yield running


@pytest.fixture(params=FRONTENDS)
async def side(request: pytest.FixtureRequest, service: Service) -> AsyncIterator[Side]:
    async with side_of(request, service) as opened:
        yield opened


def side_of(request: pytest.FixtureRequest, service: Service) -> AbstractAsyncContextManager[Side]:
    if request.param == "socketio":
        return SocketIOSide.open(service)
    return RabbitSide.open(service, request.getfixturevalue("rabbitmq").url)


async def test_a_whole_life_over_a_frontend(
    anyio_backend: str, service: Service, side: Side
) -> None:
    folder = Path(tempfile.mkdtemp(dir=service.root))
    await live(side, service.image, service.command("flow.py"), folder)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_a_whole_life_inside_a_host(transport: str, loop: str) -> None:
    folder = Path(tempfile.mkdtemp(prefix="fm-"))
    try:
        anyio.run(live_inside, transport, folder, backend=loop)
    finally:
        shutil.rmtree(folder)


async def live_inside(transport: str, folder: Path) -> None:
    settings = Settings(
        backend="process",
        transport=transport,
        socket_dir=folder / "sockets",
        state_dir=folder / "state",
        volume_roots=(folder,),
        proof_of_life=1,
    )
    own = {"tcp": TcpSettings(port=0)}
    async with FlowManager(settings, provider_settings=own) as manager:
        async with EmbeddedSide.open(manager) as side:
            await live(side, "python", ["flow.py"], folder)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """Socket.IO's and RabbitMQ's clients are asyncio's."""
    return "asyncio"
