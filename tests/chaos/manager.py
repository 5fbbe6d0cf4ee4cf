"""A manager in a process of its own that is killed, frozen and started again and again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType

import pytest

from tests.chaos.outside import remove_all
from tests.e2e.service import START, Service

#: What an operator runs.
SERVE = ("-m", "flow_manager_cli.main", "serve")

#: Parameters for a fixture that makes a manager with `manager_on`.
BACKENDS = ("process", pytest.param("docker", marks=pytest.mark.docker))


class Manager(Service):
    """The service, with what a test of its ends and beginnings needs besides.

    Args:
        root: the working folder, and so the only volume root.
        backend: a provider's name.
        image: an image with Python, or the process backend's ``python``.
        engine: ``DOCKER_HOST``, or empty.
        program: what Python runs.
        environ: further variables.
    """

    def __init__(
        self,
        root: Path,
        backend: str,
        image: str,
        engine: str = "",
        *,
        program: tuple[str, ...] = SERVE,
        **environ: str,
    ) -> None:
        super().__init__(root, backend, image, engine, **environ)
        self._program = program
        #: The service's own, so that what a kill leaves there is seen.
        self.temp = self._home / "temp"
        self.temp.mkdir()
        #: When the latest life began to listen, by the monotonic clock.
        self.listening_at = 0.0

    def __enter__(self) -> Manager:
        super().__enter__()
        return self

    @property
    def state_dir(self) -> Path:
        """What it keeps from one life to the next."""
        return Path(self._environ.get("FLOW_MANAGER_STATE_DIR", self._home / "state"))

    @property
    def pid(self) -> int:
        """Of the latest life."""
        assert self.process
        return self.process.pid

    def arguments(self) -> list[str]:
        """The command of one life."""
        return [sys.executable, *self._program, "--backend", self.backend, "--port", "0"]

    def variables(self) -> dict[str, str]:
        """The environment of one life."""
        found = {
            **os.environ,
            "FLOW_MANAGER_TOKEN": self.token,
            "SOCKET_DIR": str(self.socket_dir),
            "FLOW_MANAGER_STATE_DIR": str(self.state_dir),
            "FLOW_MANAGER_INSTANCE": self.instance,
            "FLOW_MANAGER_PROOF_OF_LIFE": "1",
            "FLOW_MANAGER_RECONNECT_TIMEOUT": "5",
            "FLOW_MANAGER_BACKOFF_FIRST_DELAY": "0.1",
            "FLOW_MANAGER_LOG_FILE": "off",
            "TMPDIR": str(self.temp),
            "LOG_LEVEL": "DEBUG",
            **self._environ,
        }
        return {**found, "DOCKER_HOST": self.engine} if self.engine else found

    def start(self) -> None:
        """Start, and wait until it listens."""
        self.process = subprocess.Popen(
            self.arguments(),
            cwd=self.root,
            env=self.variables(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        heard = threading.Event()
        self._reader = threading.Thread(target=self._listen, args=(self.process, heard))
        self._reader.start()
        if not heard.wait(START):
            self.kill()
            raise AssertionError(f"the manager did not begin to listen:\n{self.tail()}")

    def _listen(self, process: subprocess.Popen[str], heard: threading.Event) -> None:
        assert process.stdout
        for line in process.stdout:
            if line.startswith("Listening on http"):
                self.listening_at = time.monotonic()
                self.url = line.split()[-1]
                heard.set()
            self.lines.append(line.rstrip("\n"))

    def kill(self) -> int:
        """End it as a power cut would."""
        return self.stop(signal.SIGKILL)

    def ended(self, timeout: float) -> bool:
        """Wait for an end that it brings about itself; tell whether it came."""
        assert self.process and self._reader
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        self._reader.join(5)
        assert self.process.stdout
        self.process.stdout.close()
        self.process = None
        return True

    def send(self, number: int) -> None:
        """Send it a signal, and wait for nothing."""
        assert self.process
        self.process.send_signal(number)

    def tail(self, count: int = 60) -> str:
        """The last lines of its log."""
        return "\n".join(self.lines[-count:])

    def refused(self, timeout: float = 20) -> tuple[int, str]:
        """Start one that is expected to end by itself; return exit code and what it told."""
        done = subprocess.run(
            self.arguments(),
            cwd=self.root,
            env=self.variables(),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return done.returncode, done.stderr

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End it, and whatever it made: flows outlive their manager."""
        try:
            if self.process is not None:
                self.send(signal.SIGCONT)
                code = self.stop()
                assert kind is not None or code == 0, self.tail()
        finally:
            remove_all(self)
            super().__exit__(kind, value, traceback)


def manager_on(
    request: pytest.FixtureRequest, root: Path, *, program: tuple[str, ...] = SERVE, **environ: str
) -> Manager:
    """A manager on the backend that the fixture's parameter names, not yet started."""
    image, url = "python", ""
    if request.param == "docker":
        url = request.getfixturevalue("docker_engine").url
        image = request.getfixturevalue("flow_image")
    return Manager(root, request.param, image, url, program=program, **environ)
