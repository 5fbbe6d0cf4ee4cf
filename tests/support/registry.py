"""A registry of the test run's own, on loopback, that asks for a password."""

from __future__ import annotations

import base64
import io
import json
import os
import secrets
import shutil
import socket
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

START_TIMEOUT = 30.0
USER = "flow"

#: Bytes of the pushed image: enough for a pull to tell of its progress.
SIZE = 8 * 1024 * 1024

CONFIG = """
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {folder}/data}}}}
http: {{addr: "{host}", secret: {secret}}}
auth: {{htpasswd: {{realm: tests, path: {folder}/htpasswd}}}}
"""


class DockerRegistry:
    """A registry with one image; the engine knows no password for it.

    Args:
        host: address and port, as images' names begin.
    """

    def __init__(self, host: str) -> None:
        self.host = host
        self.password = secrets.token_hex(8)
        self.image = f"{host}/flows/hello:1"

    def login(self, folder: Path, password: str | None = None) -> None:
        """Write Docker's own configuration, as ``docker login`` does.

        Args:
            folder: what DOCKER_CONFIG names.
            password: a wrong one, if wanted.
        """
        pair = f"{USER}:{self.password if password is None else password}"
        auths = {self.host: {"auth": base64.b64encode(pair.encode()).decode()}}
        (folder / "config.json").write_text(json.dumps({"auths": auths}))

    def answers(self) -> bool:
        """Whether it asks for the password."""
        try:
            urllib.request.urlopen(f"http://{self.host}/v2/", timeout=5).close()
        except urllib.error.HTTPError as error:
            with error:
                return error.code == HTTPStatus.UNAUTHORIZED
        except OSError:
            return False
        return True

    def push(self, client: Any) -> None:
        """Put the image there; the engine keeps nothing of it."""
        repository, _, tag = self.image.rpartition(":")
        client.import_image_from_data(_image_tar(), repository=repository, tag=tag)
        login = {"username": USER, "password": self.password}
        for news in client.push(repository, tag, auth_config=login, stream=True, decode=True):
            assert "error" not in news, news
        client.remove_image(self.image)


def _image_tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo("noise")
        entry.size = SIZE
        tar.addfile(entry, io.BytesIO(os.urandom(SIZE)))
    return buffer.getvalue()


def free_port() -> int:
    """A TCP port of the loopback address at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _start(registry: DockerRegistry, folder: Path) -> subprocess.Popen[bytes]:
    command = ["htpasswd", "-Bbn", USER, registry.password]
    (folder / "htpasswd").write_bytes(
        subprocess.run(command, check=True, capture_output=True).stdout
    )
    config = CONFIG.format(folder=folder, host=registry.host, secret=secrets.token_hex(8))
    (folder / "config.yml").write_text(config)
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            ["docker-registry", "serve", str(folder / "config.yml")], stdout=log, stderr=log
        )


def _wait_until_ready(process: subprocess.Popen[bytes], registry: DockerRegistry) -> None:
    end = time.monotonic() + START_TIMEOUT
    while not registry.answers():
        assert process.poll() is None, "docker-registry ended at once"
        assert time.monotonic() < end, "docker-registry did not come up"
        time.sleep(0.05)


@pytest.fixture(scope="session")
def docker_registry(
    docker_engine: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DockerRegistry]:
    """A registry with basic authentication on a free loopback port, and an image in it."""
    from tests.support.engine import missing

    if not docker_engine.url.startswith("unix://"):
        missing("an engine on another host does not reach a registry on loopback")
    if not (shutil.which("docker-registry") and shutil.which("htpasswd")):
        missing("there is no docker-registry, or no htpasswd (Debian's package apache2-utils)")
    registry = DockerRegistry(f"127.0.0.1:{free_port()}")
    process = _start(registry, tmp_path_factory.mktemp("registry"))
    try:
        _wait_until_ready(process, registry)
        with docker_engine.client() as client:
            registry.push(client)
        yield registry
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def docker_login(
    docker_registry: DockerRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> DockerRegistry:
    """Make Docker's own configuration, for one test, one that knows the registry's password."""
    folder = tmp_path / "docker-config"
    folder.mkdir()
    docker_registry.login(folder)
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    return docker_registry
