"""The real service in a process of its own, started as an operator would."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import TracebackType

#: Seconds; a crowded machine takes its time, and nothing is measured by it.
START = 60.0


class Service:
    """``flow-manager serve`` with folders of its own.

    Args:
        root: the service's working folder, and so its only volume root.
        image: an image, or the process backend's ``python``, that has Python.
        engine: ``DOCKER_HOST``, or empty.
        environ: further variables of the service.
    """

    #: What Python runs.
    program: tuple[str, ...] = ("-m", "flow_manager_cli.main")
    #: Where it listens; 0: on any free port.
    port: int = 0

    def __init__(self, root: Path, backend: str, image: str, engine: str, **environ: str) -> None:
        self.root = root
        self.backend = backend
        self.image = image
        self.engine = engine
        self.token = "secret-token-of-the-test"
        self.url = ""
        self._environ = environ
        self.lines: list[str] = []
        # A short path: a socket's path holds 107 bytes, and pytest's folders are long.
        self._home = Path(tempfile.mkdtemp(prefix="fm-"))
        self.socket_dir = self._home / "sockets"
        self.process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    @property
    def instance(self) -> str:
        """The name that its containers' labels carry."""
        return self._environ.get("FLOW_MANAGER_INSTANCE", self._home.name)

    def command(self, *arguments: str) -> list[str]:
        """The program of a flow, for an image of this service."""
        python = [] if self.backend == "process" else ["python3"]
        return [*python, *arguments]

    def __enter__(self) -> Service:
        self.start()
        return self

    def start(self, **changes: str) -> None:
        """Start, and wait until it listens.

        Args:
            changes: variables that are other ones from this life on.
        """
        self._environ |= changes
        environ = {
            **os.environ,
            "FLOW_MANAGER_TOKEN": self.token,
            "SOCKET_DIR": str(self.socket_dir),
            "FLOW_MANAGER_STATE_DIR": str(self._home / "state"),
            "FLOW_MANAGER_INSTANCE": self.instance,
            "FLOW_MANAGER_PROOF_OF_LIFE": "1",
            "FLOW_MANAGER_RECONNECT_TIMEOUT": "5",
            "FLOW_MANAGER_BACKOFF_FIRST_DELAY": "0.1",
            "LOG_LEVEL": "DEBUG",
            **self._environ,
        }
        if self.engine:
            environ["DOCKER_HOST"] = self.engine
        self.process = subprocess.Popen(
            [
                *(sys.executable, *self.program, "serve"),
                *("--backend", self.backend, "--port", str(self.port)),
            ],
            cwd=self.root,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        listening = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(listening,))
        self._reader.start()
        assert listening.wait(START), "\n".join(self.lines)

    def _read(self, listening: threading.Event) -> None:
        assert self.process and self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if line.startswith("Listening on http"):
                self.url = line.split()[-1]
                listening.set()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; return the exit code."""
        assert self.process and self._reader
        self.process.send_signal(number)
        code = self.process.wait(15)
        self._reader.join(5)
        assert self.process.stdout
        self.process.stdout.close()
        self.process = None
        return code

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if self.process is not None:
            code = self.stop()
            assert kind is not None or code == 0, "\n".join(self.lines[-50:])
        shutil.rmtree(self._home, ignore_errors=True)
