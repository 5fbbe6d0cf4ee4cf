"""Pulling from a registry that asks for a password."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Any

import anyio
import pytest

from flow_manager_core.errors import EngineError, EngineUnavailable, ImageNotFound
from flow_manager_core.models import PullProgress
from flow_manager_core.settings import Settings
from flow_manager_docker import DockerBackend
from plugins.docker.tests.workshop import PATIENCE, Workshop, until
from tests.support.registry import DockerRegistry, free_port

pytestmark = [pytest.mark.anyio, pytest.mark.docker]


def ignore(_: PullProgress) -> None:
    """For pulls whose progress does not matter."""


async def test_a_pull_brings_the_image_and_tells_of_its_progress(
    backend: DockerBackend, docker_login: DockerRegistry, sdk: Any
) -> None:
    told: list[PullProgress] = []
    caller = threading.get_ident()

    def report(progress: PullProgress) -> None:
        assert threading.get_ident() == caller
        told.append(progress)

    assert not await backend.has_image(docker_login.image)
    await backend.pull(docker_login.image, report)
    assert await backend.has_image(docker_login.image)
    sdk.remove_image(docker_login.image)
    assert {p.image for p in told} == {docker_login.image}
    assert any(p.layer and p.current and p.total for p in told)
    assert any("Downloaded newer image" in p.status for p in told)


async def test_wrong_credentials_are_told(
    backend: DockerBackend,
    docker_login: DockerRegistry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    docker_login.login(tmp_path, password="wrong-password")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with pytest.raises(ImageNotFound, match=r"(?i)unauthorized|denied|basic auth") as caught:
        await backend.pull(docker_login.image, ignore)
    assert "authentication" in caught.value.hint
    told = caught.value.message + str(caught.value.details)
    assert "wrong-password" not in told
    assert docker_login.password not in told


async def test_no_credentials_are_told_and_a_login_takes_effect(
    backend: DockerBackend,
    docker_registry: DockerRegistry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sdk: Any,
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with pytest.raises(ImageNotFound):
        await backend.pull(docker_registry.image, ignore)
    docker_registry.login(tmp_path)
    await backend.pull(docker_registry.image, ignore)
    sdk.remove_image(docker_registry.image)


@pytest.mark.parametrize("path", ["flows/hello:no-such-tag", "no-such/image:1"])
async def test_an_unknown_tag_or_repository_is_told(
    backend: DockerBackend, docker_login: DockerRegistry, path: str
) -> None:
    image = f"{docker_login.host}/{path}"
    with pytest.raises(ImageNotFound, match=path) as caught:
        await backend.pull(image, ignore)
    assert not caught.value.retryable


async def test_a_registry_that_is_away_is_told(
    backend: DockerBackend, docker_registry: DockerRegistry
) -> None:
    with pytest.raises(EngineError, match="refused") as caught:
        await backend.pull(f"127.0.0.1:{free_port()}/a/b:1", ignore)
    assert type(caught.value) is EngineError
    assert caught.value.retryable


async def test_an_image_that_is_no_name_is_told(backend: DockerBackend) -> None:
    with pytest.raises(EngineError, match="invalid reference"):
        await backend.pull("UPPER/case:1", ignore)


@pytest.fixture
def silent(docker_registry: DockerRegistry) -> Any:
    """A registry that accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        yield server


async def test_a_pull_that_stalls_is_given_up(shop: Workshop, silent: socket.socket) -> None:
    image = f"127.0.0.1:{silent.getsockname()[1]}/a/b:1"
    async with shop.open(pull_stall_timeout=1.0) as backend:
        assert isinstance(backend, DockerBackend)
        with pytest.raises(EngineUnavailable, match="in time"), anyio.fail_after(10):
            await backend.pull(image, ignore)


async def test_a_pull_has_a_deadline_and_can_be_cancelled(
    shop: Workshop, silent: socket.socket
) -> None:
    image = f"127.0.0.1:{silent.getsockname()[1]}/a/b:1"
    core = Settings(instance=shop.core.instance, pull_timeout=0.5)
    async with shop.open(core, pull_stall_timeout=2.0) as backend:
        assert isinstance(backend, DockerBackend)
        with pytest.raises(EngineUnavailable, match=r"within 0\.5 seconds"):
            await backend.pull(image, ignore)
        with anyio.move_on_after(0.2) as scope:
            await backend.pull(image, ignore)
        assert scope.cancelled_caught


async def test_a_cancelled_pull_tells_nothing_more(
    backend: DockerBackend, docker_login: DockerRegistry
) -> None:
    told: list[PullProgress] = []
    async with anyio.create_task_group() as tasks:

        async def pull() -> None:
            await backend.pull(docker_login.image, told.append)

        tasks.start_soon(pull)

        async def begun() -> bool:
            return bool(told)

        await until(begun)
        tasks.cancel_scope.cancel()
    with anyio.move_on_after(PATIENCE):
        before = len(told)
        await anyio.sleep(0.3)
        assert len(told) == before
