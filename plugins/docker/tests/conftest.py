"""What the tests of the Docker backend share: a backend on the real engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import pytest

from flow_manager_docker import DockerBackend
from plugins.docker.tests.workshop import Workshop, clear
from tests.support.engine_proxy import EngineProxy


@pytest.fixture
def shop(docker_env: Any, flow_image: str) -> Workshop:
    """A workshop with an instance of its own."""
    return Workshop(flow_image)


@pytest.fixture
async def backend(shop: Workshop) -> AsyncIterator[DockerBackend]:
    """A backend that leaves nothing behind."""
    async with shop.open() as opened:
        assert isinstance(opened, DockerBackend)
        yield opened
        with anyio.CancelScope(shield=True):
            await clear(opened)


@pytest.fixture
def sdk(docker_engine: Any) -> Any:
    """Docker's own client, to see what became of a request."""
    with docker_engine.client() as client:
        yield client


@pytest.fixture
def proxy(docker_env: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[EngineProxy]:
    """A proxy before the tests' engine, that DOCKER_HOST names."""
    if not docker_env.url.startswith("unix://"):
        pytest.skip("the proxy stands before a local socket")
    with EngineProxy(docker_env.url) as made:
        monkeypatch.setenv("DOCKER_HOST", made.url)
        yield made
