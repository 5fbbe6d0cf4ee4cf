"""The folders of one instance's containers. Blocking: call it in a thread.

``<root>/<id>/`` holds ``container.json``, ``run.json``, ``exit.json``, ``output.log`` and
``code/``. It appears and disappears by a rename, so a folder with a dot before its name is scrap.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from attrs import frozen

from flow_manager_core.log import Log
from flow_manager_process.records import ContainerRecord, ExitRecord, RunRecord

CODE, NEW_CODE, OLD_CODE = "code", ".code.new", ".code.old"


@frozen
class Kept:
    """One container as found on disk."""

    record: ContainerRecord
    run: RunRecord | None
    exit: ExitRecord | None


class Store:
    """One instance's folders.

    Args:
        base: a folder of the process backend's own.
        instance: any text.
    """

    def __init__(self, base: Path, instance: str, log: Log) -> None:
        self.root: Path = base / (quote(instance, safe="").replace(".", "%2E") or "%")
        self._log = log

    def folder(self, container_id: str) -> Path:
        """Where a container's files are."""
        return self.root / container_id

    def load(self) -> list[Kept]:
        """Read all containers, and clear what an earlier life did not finish."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = []
        for entry in sorted(self.root.iterdir()):
            if entry.name.startswith("."):
                remove_tree(entry)
            elif (kept := self._read(entry)) is not None:
                mend_code(entry)
                found.append(kept)
        return found

    def look(self) -> list[Kept]:
        """Read all containers that can be read, and change nothing."""
        found = map(self._read, self._folders())
        return [kept for kept in found if kept is not None]

    def unreadable(self) -> list[Path]:
        """Name the containers' folders that cannot be read."""
        return [folder for folder in self._folders() if self._read(folder) is None]

    def scraps(self) -> list[Path]:
        """Name what was not finished, or is not wanted any more."""
        return [entry for entry in self._entries() if entry.name.startswith(".")]

    def _folders(self) -> list[Path]:
        return [entry for entry in self._entries() if not entry.name.startswith(".")]

    def _entries(self) -> list[Path]:
        return sorted(self.root.iterdir()) if self.root.is_dir() else []

    def create(self, record: ContainerRecord) -> None:
        """Make a container's folder, whole or not at all."""
        scratch = self.root / f".{record.id}.new"
        try:
            scratch.mkdir(mode=0o700)
            (scratch / CODE).mkdir(mode=0o700)
            write_file(scratch / "container.json", record.to_json())
            scratch.rename(self.folder(record.id))
        except BaseException:
            remove_tree(scratch)
            raise

    def discard(self, container_id: str) -> Path:
        """Take a container out of view; return the scrap that is left to be removed."""
        scrap = self.root / f".{container_id}.gone"
        self.folder(container_id).rename(scrap)
        return scrap

    def read_exit(self, container_id: str) -> ExitRecord | None:
        """Read how the latest ended run ended; ``None`` when no end was recorded."""
        try:
            text = (self.folder(container_id) / "exit.json").read_text()
            return ExitRecord.from_json(text)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            self._log.warning("Unreadable exit record", container_id=container_id, error=str(error))
            return None

    def write_exit(self, container_id: str, record: ExitRecord) -> None:
        """Record an end that the keeper could not."""
        write_file(self.folder(container_id) / "exit.json", record.to_json())

    def _read(self, folder: Path) -> Kept | None:
        try:
            record = ContainerRecord.from_json((folder / "container.json").read_text())
            run_file = folder / "run.json"
            run = RunRecord.from_json(run_file.read_text()) if run_file.exists() else None
        except (OSError, ValueError, TypeError, KeyError) as error:
            self._log.error("Unreadable container folder", folder=str(folder), error=str(error))
            return None
        return Kept(record, run, self.read_exit(record.id))


def write_file(path: Path, text: str) -> None:
    """Put a file on disk whole or not at all, readable by its owner alone."""
    scratch = path.with_name(f"{path.name}.new")
    with open(scratch, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    scratch.rename(path)


def mend_code(folder: Path) -> None:
    """Finish what a replacement of the code folder left undone."""
    if not (folder / CODE).exists() and (folder / OLD_CODE).exists():
        (folder / OLD_CODE).rename(folder / CODE)
    for scrap in (NEW_CODE, OLD_CODE):
        remove_tree(folder / scrap)


def remove_tree(path: Path) -> None:
    """Remove a folder with all it holds; links are removed, never followed."""
    if not path.is_symlink() and path.is_dir():
        try:
            shutil.rmtree(path)
        except PermissionError:
            for folder in _folders(path):
                folder.chmod(0o700)
            shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _folders(top: Path) -> Iterator[Path]:
    """List a tree's folders, each before it is looked into; no program is left to swap one."""
    yield top
    for above, names, _ in os.walk(top):
        for folder in (Path(above, name) for name in names):
            if not folder.is_symlink():
                yield folder
