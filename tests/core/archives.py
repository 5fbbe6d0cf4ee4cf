"""Backups that no manager would write, with sums that fit all the same."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flow_manager_core.backups.gauge import Gauge
from flow_manager_core.backups.layout import FORMAT, HEAD, MANIFEST, dump, part_member
from flow_manager_core.backups.reading import Archive, ArchiveReader
from flow_manager_core.backups.writing import ArchiveWriter, Written

LIMIT = 10_000_000


def entry(name: str, kind: bytes = tarfile.REGTYPE, **fields: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    for key, value in fields.items():
        setattr(info, key, value)
    return info


def tar_of(*entries: tarfile.TarInfo, **files: bytes) -> bytes:
    """The bytes of a part."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for info in entries:
            tar.addfile(info)
        for name, content in files.items():
            tar.addfile(entry(name, size=len(content)), io.BytesIO(content))
    return packed.getvalue()


def manifest_of(parts: Mapping[str, Written]) -> dict[str, Any]:
    """What a manager would say of a container in memory."""
    return {
        "format": FORMAT,
        "manager": "0",
        "made": "2025-07-21T10:30:00.000Z",
        "backend": "memory",
        "container_id": "abc123def456",
        "container": {"image": "memory", "name": "flow", "command": ["count"]},
        "has_code": False,
        "notes": {},
        "left_out": [],
        "parts": [
            {
                "name": name,
                "kind": "filesystem",
                "target": "",
                "size": part.size,
                "sha256": part.sha256,
            }
            for name, part in parts.items()
        ],
    }


def write(
    path: Path,
    parts: Mapping[str, bytes],
    *,
    head: Any = None,
    manifest: Any = None,
    changes: Mapping[str, Any] | None = None,
) -> Path:
    """Write an archive whose sums fit, whatever is in it.

    Args:
        manifest: instead of one that fits.
        changes: of fields of the one that fits.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        writer = ArchiveWriter(file.fileno(), Gauge(), made=0, limit=LIMIT)
        writer.add(HEAD, dump({"format": FORMAT} if head is None else head))
        written = {}
        for name, content in parts.items():
            part = writer.begin(part_member(name))
            part.write(content)
            written[name] = writer.end(part)
        told = manifest_of(written) | dict(changes or {}) if manifest is None else manifest
        writer.add(MANIFEST, told if isinstance(told, bytes) else dump(told))
        writer.finish()
    return path


@contextmanager
def descriptor_of(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def verify(path: Path, limit: int = LIMIT) -> Archive:
    """Read it as a manager would."""
    with descriptor_of(path) as descriptor:
        return ArchiveReader(descriptor, Gauge(), limit=limit).verify()
