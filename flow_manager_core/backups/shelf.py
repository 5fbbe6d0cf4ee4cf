"""The folder for backups, and how many transfers there may be at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

import anyio
from anyio import to_thread

from flow_manager_core.backups.place import BackupFile
from flow_manager_core.errors import SystemFault
from flow_manager_core.settings import Settings

T = TypeVar("T")

#: More would share one disk, and each would hold its container for longer.
AT_ONCE = 2


class BackupShelf:
    """Where this manager's backups stand.

    Args:
        settings: of them, `backup_dir`, `backup_limit` and `state_dir` count.
    """

    def __init__(self, settings: Settings) -> None:
        self.root: Path = Path(settings.backup_dir or settings.state_dir / "backups")
        self.limit: int = settings.backup_limit
        self._under_way = 0

    def file(self, path: str) -> BackupFile:
        """A backup's place.

        Raises:
            InvalidRequest: it lies outside the folder.
        """
        return BackupFile.of(self.root, path)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Take one of the places for transfers; nobody waits for one with a container's lock.

        Raises:
            SystemFault: there is none free now.
        """
        if self._under_way >= AT_ONCE:
            raise SystemFault(
                f"{AT_ONCE} backups or restores are under way, and there are no more at a time",
                retryable=True,
                hint="Send the request again when one of them is done",
            )
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1


@asynccontextmanager
async def in_thread(context: AbstractContextManager[T]) -> AsyncIterator[T]:
    """Enter and leave a blocking context in worker threads."""
    value = await to_thread.run_sync(context.__enter__)
    try:
        yield value
    except BaseException as error:
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(context.__exit__, type(error), error, error.__traceback__)
        raise
    with anyio.CancelScope(shield=True):
        await to_thread.run_sync(context.__exit__, None, None, None)
