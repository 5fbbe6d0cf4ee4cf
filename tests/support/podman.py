"""A pytest plugin: a Podman of the test run's own, that serves Docker's API.

All that it keeps is in one folder, so that it knows nothing of another Podman of this host. Its
containers get a network of their own through the plugins of CNI, in this process's namespace.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.engine import DockerEngine, missing
from tests.support.images import debian_tar
from tests.support.private_dockerd import (
    delete_bridge,
    has_bridge,
    have_programs,
    stop,
    unmount,
    wait_until_ready,
)

#: What CNI makes for Podman's own network.
BRIDGE = "cni-podman0"

#: With the registry, as Podman tells names of images: it makes a short one whole by itself.
PODMAN_IMAGE = "docker.io/flow-manager-test/python:2"

#: Locks and events of its own: by default they are the host's, and shared by all of root's.
#: The limits are low, as anybody may lower them: Podman's default of a million files is over what
#: a session in a container of its own is allowed.
CONFIG = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
"""


class PodmanEngine(DockerEngine):
    """Podman, and the service that answers for it.

    Args:
        folder: all that it keeps; short, as its socket is in it.
        log: of the service.
    """

    def __init__(self, folder: Path, log: Path) -> None:
        super().__init__(f"unix://{folder}/podman.sock")
        self._folder = folder
        self._log = log
        self._service: subprocess.Popen[bytes] | None = None
        config = folder / "containers.conf"
        config.write_text(CONFIG)
        self._environ = {
            **os.environ,
            "CONTAINERS_CONF": str(config),
            "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin",
        }

    def command(self, *arguments: str) -> Sequence[str]:
        """A command of Podman's own command line."""
        root = ("--root", f"{self._folder}/root", "--runroot", f"{self._folder}/run")
        return ("podman", *root, "--tmpdir", f"{self._folder}/tmp", *arguments)

    def run(self, *arguments: str) -> str:
        """Run it to its end; return its output."""
        done = subprocess.run(
            self.command(*arguments),
            env=self._environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def gateway(self) -> str:
        (network,) = json.loads(self.run("network", "inspect", "podman"))
        return str(network["subnets"][0]["gateway"])

    def start(self) -> None:
        """Start the service, and wait until it answers."""
        with self._log.open("ab") as log:
            self._service = subprocess.Popen(
                self.command("system", "service", "--time=0", self.url),
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until_ready(self._service, self, self._log)

    def stop(self) -> None:
        """End the service; containers run on."""
        if self._service is not None:
            stop(self._service)
            self._service = None

    def clear(self) -> None:
        """Take away all containers and what is mounted for them."""
        self.stop()
        self.run("rm", "--all", "--force", "--time=0")
        unmount(self._folder)


@pytest.fixture(scope="session")
def podman_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PodmanEngine]:
    """Podman, with its service running and an image for flows."""
    if not have_programs("podman", "conmon", "catatonit", "mmdebstrap"):
        missing("Podman needs root, podman, conmon, catatonit and mmdebstrap")
    # Not pytest's own folder: a socket's path holds 107 bytes.
    folder, had_bridge = Path(tempfile.mkdtemp(prefix="fmp-")), has_bridge(BRIDGE)
    engine = PodmanEngine(folder, tmp_path_factory.mktemp("podman") / "podman.log")
    try:
        engine.run(
            "import", "--quiet", "--change", 'CMD ["python3"]', str(debian_tar()), PODMAN_IMAGE
        )
        engine.start()
        yield engine
    finally:
        engine.clear()
        shutil.rmtree(folder)
        if not had_bridge:
            delete_bridge(BRIDGE)


@pytest.fixture
def podman_env(podman_engine: PodmanEngine, monkeypatch: pytest.MonkeyPatch) -> PodmanEngine:
    """Make Podman the engine that DOCKER_HOST names, for one test."""
    monkeypatch.setenv("DOCKER_HOST", podman_engine.url)
    for name in ("DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    return podman_engine
