"""A real engine that a test may kill, freeze and start again, beside any other on this machine.

It lives in namespaces of its own for network and mounts, so that it neither shares a bridge with
another daemon nor leaves a mount behind. They outlast each life of the daemon, as the machine
outlasts it in earnest: what survives a kill finds its network again.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.support.engine import DockerEngine, missing
from tests.support.images import FLOW_IMAGE, debian_tar, import_image
from tests.support.private_dockerd import have_programs, launch, stop, wait_until_ready

#: Seconds for killed processes and what they held to be gone.
LAST_WISH = 10.0
#: Seconds in which containerd follows a daemon that was killed, if it does.
FOLLOW = 1.0

#: Becomes the holder of the namespaces; ends when the test run does.
HOLDER = "ip link set lo up && echo ready && exec cat"


class RestartableEngine(DockerEngine):
    """An engine in the hands of a test. A context manager; `start` starts it.

    Args:
        logs: a folder that keeps its log, of all its lives.
    """

    def __init__(self, logs: Path) -> None:
        # Not pytest's own folder: a socket's path holds 107 bytes.
        self._folder = Path(tempfile.mkdtemp(prefix="fmr-"))
        super().__init__(f"unix://{self._folder}/docker.sock")
        self._log = logs / "restartable-dockerd.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._holder: subprocess.Popen[bytes] | None = None
        self._flags: tuple[str, ...] = ()

    @staticmethod
    def possible() -> bool:
        """Whether this user may have one here."""
        return have_programs("dockerd", "iptables", "unshare", "nsenter", "ip")

    @property
    def running(self) -> bool:
        """Whether the daemon is there, if perhaps frozen."""
        return self._process is not None and self._process.poll() is None

    @property
    def live_restore(self) -> bool:
        """Whether flows outlive this life of the daemon."""
        return "--live-restore" in self._flags

    def start(self, *flags: str, live_restore: bool = False) -> None:
        """Begin a life of the daemon, and wait until it answers.

        Args:
            flags: of ``dockerd``.
            live_restore: let flows go on without the daemon.
        """
        assert not self.running
        self._flags = (*flags, *(["--live-restore"] if live_restore else []))
        self._forget_the_dead()
        with self._log.open("ab") as log:
            self._process = launch(self._folder, log.fileno(), *self._flags, inside=self._entry())
        self.pid = self._process.pid
        wait_until_ready(self._process, self, self._log)

    def terminate(self) -> None:
        """End it in order; without live-restore it stops all flows first."""
        assert self._process
        stop(self._process)

    def kill(self) -> None:
        """End it by force; flows go on until it comes back, with live-restore beyond."""
        assert self._process
        self._process.kill()
        self._process.wait()
        # Where the kernel lets containerd follow it, that takes a moment.
        end = time.monotonic() + FOLLOW
        while self._containerd_runs() and time.monotonic() < end:
            time.sleep(0.01)

    def freeze(self) -> None:
        """Let it take connections and answer nothing."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    def restart(self, *flags: str, live_restore: bool = False) -> None:
        """End it in order, and begin another life."""
        self.terminate()
        self.start(*flags, live_restore=live_restore)

    def ensure(self, *, live_restore: bool = False) -> None:
        """Make it run, answer, and have no container, whatever the last test did."""
        if self.running:
            self.thaw()
            self.clear()
        if self.running and self._flags != (("--live-restore",) if live_restore else ()):
            self.terminate()
        if not self.running:
            self.start(live_restore=live_restore)
            self.clear()

    def clear(self) -> None:
        """Remove all containers."""
        with self.client() as client:
            for found in client.containers(all=True):
                client.remove_container(found["Id"], force=True, v=True)

    def __enter__(self) -> RestartableEngine:
        self._holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "sh", "-c", HOLDER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"},
        )
        assert self._holder.stdout
        assert self._holder.stdout.readline() == b"ready\n"
        self._namespace = _namespace(self._holder.pid)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._process is not None:
                self.ensure()
                self.terminate()
        finally:
            self._end_leftovers()
            shutil.rmtree(self._folder)

    def _entry(self) -> list[str]:
        """What puts a command into the namespaces and becomes it."""
        assert self._holder
        return ["nsenter", f"--target={self._holder.pid}", "--net", "--mount", "--"]

    def _forget_the_dead(self) -> None:
        """Remove process ids that a killed daemon left: another process may have them by now."""
        (self._folder / "pid").unlink(missing_ok=True)
        # A containerd that outlived it is taken over.
        if not self._containerd_runs():
            self._containerd_pid.unlink(missing_ok=True)

    @property
    def _containerd_pid(self) -> Path:
        return self._folder / "exec/containerd/containerd.pid"

    def _containerd_runs(self) -> bool:
        try:
            process = psutil.Process(int(self._containerd_pid.read_text()))
            # One that nobody has reaped looks alive to dockerd, which would wait for it in vain.
            return bool(process.name() == "containerd" and process.status() != psutil.STATUS_ZOMBIE)
        except (FileNotFoundError, psutil.NoSuchProcess):
            return False

    def _end_leftovers(self) -> None:
        """End what is left in the namespaces, shims' flows included, and the holder at last."""
        assert self._holder and self._holder.stdin and self._holder.stdout
        end = time.monotonic() + LAST_WISH
        while left := list(_members(self._namespace, but=self._holder.pid)):
            for process in left:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            assert time.monotonic() < end, f"still there: {left}"
            time.sleep(0.05)
        self._holder.stdin.close()
        self._holder.wait()
        self._holder.stdout.close()


def _namespace(pid: int) -> int:
    return os.stat(f"/proc/{pid}/ns/net").st_ino


def _members(namespace: int, *, but: int) -> Iterator[psutil.Process]:
    """The processes of a network namespace, and theirs: a flow has another one."""
    for process in psutil.process_iter():
        with suppress(OSError, psutil.NoSuchProcess):
            if process.pid != but and _namespace(process.pid) == namespace:
                yield from process.children(recursive=True)
                yield process


@pytest.fixture(scope="session")
def restartable_engine_of_the_run(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RestartableEngine]:
    """The one engine of the run that tests may mistreat; it has the flows' image."""
    if not RestartableEngine.possible():
        missing("an engine that may be killed needs root, dockerd, iptables, unshare, nsenter, ip")
    with RestartableEngine(tmp_path_factory.mktemp("restartable")) as engine:
        engine.start()
        with engine.client() as client:
            import_image(client, FLOW_IMAGE, debian_tar(), "python3")
        yield engine


@pytest.fixture
def restartable_engine(restartable_engine_of_the_run: RestartableEngine) -> RestartableEngine:
    """That engine for one test: running, without live-restore, and empty."""
    restartable_engine_of_the_run.ensure()
    return restartable_engine_of_the_run
