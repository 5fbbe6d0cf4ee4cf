"""Fixtures of the end-to-end tests: the real service in a process of its own, and its clients."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.client import Client
from tests.e2e.service import Service

FLOWS = Path(__file__).parent / "flows"


@pytest.fixture(
    scope="module", params=["process", pytest.param("docker", marks=pytest.mark.docker)]
)
def service(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Service]:
    """The service on each backend; the test's flows run on either alike."""
    if request.param == "docker":
        engine = request.getfixturevalue("docker_engine")
        image = request.getfixturevalue("flow_image")
        started = Service(tmp_path_factory.mktemp("docker"), "docker", image, engine.url)
    else:
        started = Service(tmp_path_factory.mktemp("process"), "process", "python", "")
    with started as running:
        yield running


@pytest.fixture
async def client(service: Service) -> AsyncIterator[Client]:
    """A client that leaves no container behind."""
    async with Client(service) as connected:
        yield connected


@pytest.fixture
def code(service: Service) -> Iterator[Path]:
    """A folder with the test's flow, below the service's volume root."""
    folder = service.root / "code"
    shutil.copytree(FLOWS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """The Socket.IO client is asyncio's."""
    return "asyncio"
