"""The folder in which one instance keeps what it must know in its next life, and its lock."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flow_manager_core.errors import ConfigurationError, SystemFault
from flow_manager_core.models import Fault
from flow_manager_core.settings import Settings


@contextmanager
def instance_folder(settings: Settings) -> Iterator[Path]:
    """Make the folder if need be, and hold its lock: the kernel releases it with the process.

    Raises:
        ConfigurationError: another manager of this name holds it, or it cannot be used.
    """
    folder = settings.state_dir / "instances" / settings.instance
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        told = f"{folder} cannot be used: {error.strerror}"
        raise ConfigurationError([Fault("state_dir", told)]) from None
    try:
        _lock(descriptor, settings.instance)
        yield folder
    finally:
        os.close(descriptor)


def _lock(descriptor: int, instance: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
        told = f"another manager of the instance {instance!r} runs (process {holder or 'unknown'})"
        hint = "an instance lives in one process, so a host app runs with one worker"
        raise ConfigurationError([Fault("instance", f"{told}; {hint}")]) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


class Workplace:
    """Folders for the archives of operations; one that a kill left behind is found again.

    Blocking: call it in a worker thread.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def folder(self, key: str) -> Path:
        """The folder of one container's operation; made if need be.

        Raises:
            SystemFault: the disk refuses.
        """
        path = self._root / key
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise SystemFault(f"No room to work in {self._root}: {error.strerror}") from error
        return path

    def clear(self, key: str) -> None:
        """Take an operation's folder away."""
        shutil.rmtree(self._root / key, ignore_errors=True)

    def clear_all_but(self, keys: set[str]) -> None:
        """Take away what no operation will come back for."""
        if self._root.is_dir():
            for path in self._root.iterdir():
                if path.name not in keys:
                    shutil.rmtree(path, ignore_errors=True)
