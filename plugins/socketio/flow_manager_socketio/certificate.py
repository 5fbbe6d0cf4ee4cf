"""The certificate in use, and the renewed one on disk that takes its place."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.to_thread

from flow_manager_core.errors import ConfigurationError
from flow_manager_core.log import Log
from flow_manager_core.settings import Settings
from flow_manager_core.tls import key_is_exposed, tls_context

#: Seconds between two looks at the files. Certificates are renewed days before they end.
LOOK = 30.0


class Certificate:
    """What new connections are served with.

    Args:
        look: seconds between two looks at the files.
    """

    def __init__(self, core: Settings, log: Log, look: float = LOOK) -> None:
        self._core = core
        self._log = log
        self._look = look
        self._context: ssl.SSLContext | None = None
        self._seen: list[object] = []
        self._exposed = False

    def context(self) -> ssl.SSLContext | None:
        """The TLS context in force; ``None``: no TLS."""
        return self._context

    async def load(self) -> None:
        """Read the files for the first time.

        Raises:
            ConfigurationError: they cannot be used.
        """
        await anyio.to_thread.run_sync(self._read)
        if self._exposed:
            self._log.warning("Others can read the TLS key: chmod 600 it", path=self._core.tls_key)

    @asynccontextmanager
    async def renewing(self) -> AsyncIterator[None]:
        """Take up what is new on disk, until left; what cannot be used changes nothing."""
        task = asyncio.get_running_loop().create_task(self._renew())
        try:
            yield
        finally:
            task.cancel()
            with anyio.CancelScope(shield=True):
                await asyncio.wait([task])

    async def _renew(self) -> None:
        while self._context is not None:
            await anyio.sleep(self._look)
            changed = await anyio.to_thread.run_sync(self._changed)
            if not changed:
                continue
            try:
                await anyio.to_thread.run_sync(self._read)
            except ConfigurationError as error:
                self._log.warning("The certificate on disk is not used", error=error.message)
            else:
                self._log.info("A new certificate is in use", path=self._core.tls_certificate)

    def _read(self) -> None:
        self._seen = self._stamps()
        self._context = tls_context(self._core)
        self._exposed = self._context is not None and key_is_exposed(self._core)

    def _changed(self) -> bool:
        return self._stamps() != self._seen

    def _stamps(self) -> list[object]:
        found: list[object] = []
        for path in filter(None, (self._core.tls_certificate, self._core.tls_key)):
            try:
                told = os.stat(path)  # noqa: PTH116 - a link's target is what counts
            except OSError:
                found.append(None)
            else:
                found.append((told.st_mtime_ns, told.st_size, told.st_ino))
        return found
