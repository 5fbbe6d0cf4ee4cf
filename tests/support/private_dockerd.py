"""A ``dockerd`` of the test run's own: its data, its socket, its end."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

#: Every dockerd of a network namespace wants this bridge.
BRIDGE = "docker0"

#: Seconds.
START_TIMEOUT = 60.0
STOP_TIMEOUT = 30.0


class _Answering(Protocol):
    def answers(self) -> bool: ...


E = TypeVar("E", bound=_Answering)


def can_start() -> bool:
    """Whether this user may start a daemon, the programs are there, and no other daemon is."""
    return have_programs("dockerd", "iptables") and not _another_daemon()


def have_programs(*names: str) -> bool:
    """Whether this user is root and finds these programs."""
    return os.geteuid() == 0 and all(map(_program, names))


def _another_daemon() -> bool:
    """Whether a daemon runs in this network namespace: two would spoil each other's bridge."""
    own = Path("/proc/self/ns/net").readlink()
    for name in Path("/proc").glob("[0-9]*/comm"):
        try:
            if name.read_text().strip() == "dockerd" and (name.parent / "ns/net").readlink() == own:
                return True
        except OSError:  # the process has ended
            continue
    return False


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


@contextmanager
def private_dockerd(logs: Path, engine: Callable[[str, int], E]) -> Iterator[E]:
    """Start a daemon, and take it and all that it made away again.

    Args:
        logs: a folder that keeps its log.
        engine: makes the engine from its URL and the daemon's process id.
    """
    had_bridge = has_bridge(BRIDGE)
    # Not pytest's own folder: a socket's path holds 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="fmd-"))
    try:
        with (logs / "dockerd.log").open("wb") as log:
            process = launch(folder, log.fileno())
        try:
            made = engine(f"unix://{folder}/docker.sock", process.pid)
            wait_until_ready(process, made, logs / "dockerd.log")
            yield made
        finally:
            stop(process)
    finally:
        unmount(folder)
        shutil.rmtree(folder)
        if not had_bridge:
            delete_bridge(BRIDGE)


def launch(
    folder: Path, log: int, *flags: str, inside: Sequence[str] = ()
) -> subprocess.Popen[bytes]:
    """Start a daemon, and do not wait for it.

    Args:
        folder: all that it keeps, with its socket ``docker.sock`` and its process id ``pid``.
        log: a descriptor.
        flags: more of its own.
        inside: a command before its own, which must become it, not start it.
    """
    return subprocess.Popen(
        [
            *inside,
            str(_program("dockerd")),
            f"--data-root={folder}/data",
            f"--exec-root={folder}/exec",
            f"--pidfile={folder}/pid",
            f"--host=unix://{folder}/docker.sock",
            f"--config-file={_empty_config(folder)}",
            *flags,
        ],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env={**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"},
        # Ctrl-C is for pytest, which then ends the daemon in order.
        start_new_session=True,
    )


def _empty_config(folder: Path) -> Path:
    path = folder / "daemon.json"
    path.write_text("{}")
    return path


def wait_until_ready(process: subprocess.Popen[bytes], engine: _Answering, log: Path) -> None:
    """Wait until a daemon answers.

    Raises:
        RuntimeError: it ended, or took too long; with the end of its log.
    """
    end = time.monotonic() + START_TIMEOUT
    while not engine.answers():
        if process.poll() is not None or time.monotonic() > end:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
            raise RuntimeError(f"dockerd did not come up:\n{tail}")
        time.sleep(0.1)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask a daemon to end, and kill it if it does not."""
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def has_bridge(name: str) -> bool:
    """Whether this network namespace has it."""
    return name in (known for _, known in socket.if_nameindex())


def delete_bridge(name: str) -> None:
    """Take it away, if it is there."""
    if has_bridge(name):
        subprocess.run(["ip", "link", "delete", name], check=True)


def unmount(folder: Path) -> None:
    """Unmount what a daemon leaves mounted below its folders, the innermost first."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split(" ")[4] for line in lines]
    for point in sorted((p for p in points if p.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "--lazy", point], check=True)
