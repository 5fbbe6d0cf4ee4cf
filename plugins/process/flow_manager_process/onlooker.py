"""The doctor's eyes on processes: what is on disk and in /proc, and nothing is adopted."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

from attrs import evolve

from flow_manager_core.contracts import Onlooker
from flow_manager_core.errors import ImageNotFound
from flow_manager_core.findings import NotExamined
from flow_manager_core.models import Container, ContainerState, EngineInfo, LogLine
from flow_manager_core.providers import ProviderContext
from flow_manager_process.backend import engine_info
from flow_manager_process.entries import Entry
from flow_manager_process.images import base_environment, resolve
from flow_manager_process.output import read_output
from flow_manager_process.store import Kept, Store
from flow_manager_process.worker import Worker


def base_of(context: ProviderContext) -> Path:
    """Where all instances' folders are."""
    return context.core.state_dir / "process"


class ProcessOnlooker(Onlooker):
    """Reads folders, of this instance and by name of the others."""

    isolated = False

    def __init__(self, context: ProviderContext) -> None:
        self._base = base_of(context)
        self._store = Store(self._base, context.core.instance, context.log)
        self._worker = Worker(2, context.core.request_timeout)
        self._path = base_environment(context.settings.inherit_environment)["PATH"]

    async def ping(self) -> EngineInfo:
        return engine_info()

    async def containers(self) -> Sequence[Container]:
        return [_shown(kept) for kept in await self._worker.run(self._look)]

    async def names(self) -> Sequence[str]:
        return await self._worker.run(self._names)

    async def tail(self, container_id: str, lines: int) -> Sequence[LogLine]:
        folder = self._store.folder(container_id)
        return await self._worker.run(partial(read_output, folder, lines, None))

    async def has_image(self, image: str) -> bool:
        try:
            resolve(image, self._path)
        except ImageNotFound:
            return False
        return True

    def _look(self) -> list[Kept]:
        try:
            return self._store.look()
        except OSError as problem:  # the check of the state folder tells of it
            raise NotExamined(f"{problem.filename}: {problem.strerror}") from None

    def _names(self) -> list[str]:
        found = []
        for path in self._base.glob("*/*/container.json"):
            with suppress(FileNotFoundError):  # it was removed meanwhile
                found.append(_name(path))
        return found


def _name(path: Path) -> str:
    try:
        return str(json.loads(path.read_text())["name"])
    except (ValueError, TypeError, KeyError):  # the check of the folders tells of it
        return path.parent.name


def _shown(kept: Kept) -> Container:
    run = kept.run
    end = kept.exit if run and kept.exit and kept.exit.run == run.run else None
    shown = Entry(kept.record, run, end).shown()
    return evolve(shown, state=ContainerState.RUNNING) if run and run.kept() else shown


@asynccontextmanager
async def onlook(context: ProviderContext) -> AsyncIterator[ProcessOnlooker]:
    """Look on, for as long as the context lasts."""
    yield ProcessOnlooker(context)
