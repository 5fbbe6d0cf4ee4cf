"""A pytest plugin: a RabbitMQ of the test run's own, on loopback, with a password.

It needs Debian's packages rabbitmq-server and openssl; without them the tests that ask for it are
skipped, or, with CI set, fail. It keeps nothing outside of its own folder: its
data, its log and Erlang's cookie are there, and the port mapper that Erlang's nodes want runs as a
child of ours, on a port of its own.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.support.engine import missing
from tests.support.registry import free_port

#: Seconds; a crowded machine takes its time to start Erlang.
START_TIMEOUT = 90.0
STOP_TIMEOUT = 30.0
USER = "flows"

#: Debian's own scripts of these names change to a user of its own, and to the system's folders.
SERVER = "/usr/lib/rabbitmq/bin/rabbitmq-server"
CONTROL = "/usr/lib/rabbitmq/bin/rabbitmqctl"

CONFIG = """
listeners.tcp.1 = 127.0.0.1:{port}
listeners.ssl.1 = 127.0.0.1:{tls_port}
ssl_options.cacertfile = {certificate}
ssl_options.certfile = {certificate}
ssl_options.keyfile = {key}
default_user = {user}
default_pass = {password}
loopback_users = none
disk_free_limit.absolute = 1MB
log.file.level = info
log.console = false
"""


class RabbitMQ:
    """A broker that can be ended and started again; its queues stay."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.tls_port = free_port(), free_port()
        self.password = f"pass-{secrets.token_hex(8)}"
        self._mapper_port, self._node_port = free_port(), free_port()
        self._mapper: subprocess.Popen[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        #: What a client must trust to speak TLS with it.
        self.certificate = folder / "certificate.pem"
        key = folder / "key.pem"
        _sign(self.certificate, key)
        config = CONFIG.format(
            port=self.port,
            tls_port=self.tls_port,
            certificate=self.certificate,
            key=key,
            user=USER,
            password=self.password,
        )
        (folder / "rabbitmq.conf").write_text(config)
        (folder / "plugins").write_text("[].\n")
        (folder / "env.conf").write_text("")

    @property
    def url(self) -> str:
        """As AMQP clients write it, with the password."""
        return f"amqp://{USER}:{self.password}@127.0.0.1:{self.port}/"

    @property
    def tls_url(self) -> str:
        """The same over TLS; its certificate is for the name localhost."""
        return f"amqps://{USER}:{self.password}@localhost:{self.tls_port}/"

    def environ(self) -> dict[str, str]:
        """What makes it keep to its folder and to loopback."""
        own = {
            "HOME": self.folder,
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": self._mapper_port,
            "RABBITMQ_CONFIG_FILE": self.folder / "rabbitmq.conf",
            "RABBITMQ_CONF_ENV_FILE": self.folder / "env.conf",
            "RABBITMQ_DIST_PORT": self._node_port,
            "RABBITMQ_ENABLED_PLUGINS_FILE": self.folder / "plugins",
            "RABBITMQ_LOG_BASE": self.folder / "log",
            "RABBITMQ_MNESIA_BASE": self.folder / "data",
            "RABBITMQ_NODENAME": "rabbit@localhost",
            "RABBITMQ_PID_FILE": self.folder / "pid",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 -kernel inet_dist_use_interface "
            "{127,0,0,1}",
        }
        return {**os.environ, **{name: str(value) for name, value in own.items()}}

    def start(self) -> None:
        """Start it, and wait until clients are let in.

        Raises:
            RuntimeError: it ended, or took too long; with the end of its output.
        """
        output = self.folder / "output"
        if self._mapper is None:
            self._mapper = self._run(["epmd", "-port", str(self._mapper_port)], output)
        self._process = self._run([SERVER], output)
        end = time.monotonic() + START_TIMEOUT
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"RabbitMQ did not come up:\n{output.read_text()[-3000:]}")
            time.sleep(0.1)

    def _run(self, command: list[str], output: Path) -> subprocess.Popen[bytes]:
        with output.open("ab") as log:
            return subprocess.Popen(
                command,
                env=self.environ(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _answers(self) -> bool:
        """Whether it speaks AMQP: the listener opens last of all."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as probe:
                probe.sendall(b"AMQP\x00\x00\x09\x01")
                return probe.recv(1) == b"\x01"
        except OSError:
            return False

    def kill(self) -> None:
        """End it without a word, as a loss of power does."""
        assert self._process
        _kill_group(self._process)
        self._process = None

    def ensure(self) -> None:
        """Have it run, whatever became of it."""
        if self._process is None:
            self.start()
        self.thaw()

    def control(self, *arguments: str) -> None:
        """Run ``rabbitmqctl``."""
        command = [CONTROL, *arguments]
        subprocess.run(
            command, env=self.environ(), check=True, capture_output=True, timeout=START_TIMEOUT
        )

    def freeze(self) -> None:
        """Stop every process of it."""
        assert self._process
        os.killpg(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process
        os.killpg(self._process.pid, signal.SIGCONT)

    def close(self) -> None:
        """End it and its port mapper."""
        for process in (self._process, self._mapper):
            if process is not None:
                _kill_group(process)


def _sign(certificate: Path, key: Path) -> None:
    """Make a certificate for localhost that vouches for itself."""
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-keyout", str(key), "-out", str(certificate), "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost"),
        ],
        check=True,
        capture_output=True,
    )


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    # Erlang's own helpers are in the group, or below a process of it.
    family = psutil.Process(process.pid).children(recursive=True)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for one in family:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    psutil.wait_procs(family, STOP_TIMEOUT)
    process.wait(STOP_TIMEOUT)


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitMQ]:
    """A broker of this test run; who kills it starts it again."""
    if not (Path(SERVER).exists() and all(map(shutil.which, ("epmd", "erl", "openssl")))):
        missing(
            "there is no RabbitMQ, or no openssl (Debian's packages rabbitmq-server and openssl)"
        )
    folder = Path(tempfile.mkdtemp(prefix="fmr-"))
    broker = RabbitMQ(folder)
    try:
        broker.start()
        yield broker
    finally:
        broker.close()
        shutil.rmtree(folder)
