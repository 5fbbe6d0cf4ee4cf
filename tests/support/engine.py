"""A pytest plugin: a real Docker Engine for the tests, and images that need no registry.

Which engine: the one that FLOW_MANAGER_TEST_DOCKER_HOST names; else a private ``dockerd``, where
root may start one and no other runs here (two would fight over their bridge); else one that
answers. With none the tests are skipped, or, with CI set, fail.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.support.private_dockerd import can_start, private_dockerd

pytest_plugins = ["tests.support.images", "tests.support.registry"]

VARIABLE = "FLOW_MANAGER_TEST_DOCKER_HOST"
DEFAULT = "unix:///var/run/docker.sock"


class DockerEngine:
    """An engine that answers.

    Args:
        url: as DOCKER_HOST has it.
        pid: of the daemon, if the tests started it.
    """

    def __init__(self, url: str, pid: int | None = None) -> None:
        self.url = url
        self.pid = pid

    def client(self, timeout: float = 60) -> Any:
        """A new low-level client of Docker's SDK; a context manager.

        Raises:
            docker.errors.DockerException, OSError: it does not answer.
        """
        import docker
        from docker.constants import MINIMUM_DOCKER_API_VERSION

        from flow_manager_docker.socket_adapter import SocketAdapter

        made = docker.APIClient(
            base_url=self.url, version=MINIMUM_DOCKER_API_VERSION, timeout=timeout
        )
        if self.url.startswith("unix://"):
            # The SDK's own leaves a socket open where nobody listens.
            path = self.url.removeprefix("unix://")
            made.mount(made.base_url, SocketAdapter(path, timeout, 4))
        try:
            made._version = made.version(api_version=False)["ApiVersion"]
        except BaseException:
            made.close()
            raise
        return made

    def gateway(self) -> str:
        """The address of the engine's host, as its containers see it."""
        with self.client() as client:
            (config,) = client.inspect_network("bridge")["IPAM"]["Config"]
        # An engine in its first life does not name it; it takes the subnet's first address.
        return str(config.get("Gateway") or ipaddress.ip_network(config["Subnet"])[1])

    def answers(self) -> bool:
        """Whether it is there."""
        import docker

        try:
            with self.client() as client:
                return bool(client.ping())
        except (docker.errors.DockerException, OSError):
            return False


def missing(what: str) -> NoReturn:
    """Skip loudly; where everything is meant to be there, fail."""
    told = f"NOT TESTED: {what}"
    if os.environ.get("CI"):
        pytest.fail(told, pytrace=False)
    pytest.skip(told)


def choose(folder: Path) -> AbstractContextManager[DockerEngine]:
    """Pick the engine; see the module's text."""
    if VARIABLE in os.environ:
        return nullcontext(DockerEngine(os.environ[VARIABLE]))
    if can_start():
        return private_dockerd(folder, DockerEngine)
    present = DockerEngine(os.environ.get("DOCKER_HOST", DEFAULT))
    if present.answers():
        return nullcontext(present)
    missing("no Docker Engine answers, and none can be started (root, dockerd and iptables)")


@pytest.fixture(scope="session")
def docker_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerEngine]:
    """The engine of this test run."""
    with choose(tmp_path_factory.mktemp("dockerd")) as engine:
        if not engine.answers():
            missing(f"no Docker Engine answers at {engine.url}")
        yield engine


@pytest.fixture
def docker_env(docker_engine: DockerEngine, monkeypatch: pytest.MonkeyPatch) -> DockerEngine:
    """Make the engine the one that DOCKER_HOST names, for one test."""
    monkeypatch.setenv("DOCKER_HOST", docker_engine.url)
    for name in ("DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    return docker_engine
