"""Brings code from the host's folders to containers, by way of an archive."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
from anyio import to_thread

from flow_manager_core.code import pack_code
from flow_manager_core.contracts import CodeStore
from flow_manager_core.desired import Job
from flow_manager_core.operations.vetting import host_rules
from flow_manager_core.registry import ContainerRecord
from flow_manager_core.services import Services


async def put_code(
    services: Services, record: ContainerRecord, container_id: str, code_path: str | None
) -> None:
    """Put a folder of the host at the container's working directory.

    Raises:
        InvalidRequest: the folder holds what cannot be copied.
    """
    if code_path is None or not isinstance(services.backend, CodeStore):
        return
    async with working_folder(services, record) as folder:
        archive = folder / "code.tar"
        await pack(services, code_path, archive)
        await services.backend.write_code(container_id, archive)


async def pack(services: Services, code_path: str, archive: Path) -> None:
    """Pack a folder of the host, if it is still one that may be used once it is open.

    Raises:
        InvalidRequest: it may not, or holds what cannot be copied.
    """
    rules = await host_rules(services)
    refuse = partial(rules.fault, writes=False)
    limit = services.settings.code_limit
    work = partial(pack_code, Path(code_path), archive, limit=limit, refuse=refuse)
    await to_thread.run_sync(work)


@asynccontextmanager
async def working_folder(services: Services, record: ContainerRecord) -> AsyncIterator[Path]:
    """A folder for an operation's archives; it stays while the operation is still to be undone."""
    key = record.desired.key
    folder = await to_thread.run_sync(services.workplace.folder, key)
    try:
        yield folder
    finally:
        if record.desired.job is not Job.UPDATE:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(services.workplace.clear, key)
