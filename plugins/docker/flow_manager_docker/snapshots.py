"""What a container has, out of the engine and into it again, bit by bit. Blocking."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping
from functools import partial
from typing import IO, Any, cast
from urllib.parse import quote

from docker.errors import APIError

from flow_manager_core.contracts import PartSink, PartSource
from flow_manager_core.errors import EngineError
from flow_manager_core.models import Attachment, Part, PartKind, Snapshot
from flow_manager_docker.client import Abortable, EngineClient
from flow_manager_docker.command_check import GO_FOLDER, path_stat
from flow_manager_docker.snapshot_image import CHUNK, config_of, load_stream, notes_of, tag_of
from flow_manager_docker.snapshot_reading import (
    is_bind,
    origin,
    own_mounts,
    read_spec,
    volume_parts,
)

FILESYSTEM = Part("filesystem", PartKind.FILESYSTEM)


def describe(
    client: EngineClient, found: Mapping[str, Any], attachment: Attachment, pids_limit: int
) -> Snapshot:
    """See `Snapshots.describe`."""
    image = client.api.inspect_image(found["Image"])
    config = image["Config"] or {}
    writable = [mount for mount in own_mounts(found, attachment) if mount["RW"]]
    folders = [m for m in writable if not is_bind(m) or _is_folder(client, found["Id"], m)]
    files = [m["Destination"] for m in writable if m not in folders]
    return Snapshot(
        spec=read_spec(found, _with_own(config, client), attachment, pids_limit),
        parts=(FILESYSTEM, *volume_parts(folders)),
        notes={**notes_of(image), "origin": origin(found["Config"], config)},
        left_out=tuple(f"volume {path}: it is a single file of the host's" for path in files),
    )


def save(
    client: EngineClient, container_id: str, part: Part, sink: PartSink, handle: Abortable
) -> None:
    """See `Snapshots.save`; `handle` ends it from another thread."""
    path, query = f"/containers/{quote(container_id, safe='')}/export", {}
    if part.kind is PartKind.VOLUME:
        path, query = _archive(container_id), {"path": f"{part.target}/."}
    with client.open("GET", path, params=query) as stream:
        if handle.adopt(stream):
            for chunk in stream.chunks():
                sink.write(chunk)


def ground(
    client: EngineClient, key: str, snapshot: Snapshot, source: PartSource, timeout: float
) -> str:
    """See `Snapshots.ground`.

    Raises:
        EngineError: the engine's machine is of another kind, or it refuses the image.
    """
    notes = snapshot.notes
    own, theirs = client.api.version()["Arch"], notes.get("architecture")
    if own != theirs:
        raise EngineError(f"The backup's programs are made for {theirs}, and the engine is {own}")
    config = partial(config_of, notes, str(notes.get("origin") or snapshot.spec.image))
    data = load_stream(tag_of(key), config, source, source.size)
    headers = {"Content-Type": "application/x-tar"}
    with client.open("POST", "/images/load", data=data, headers=headers, timeout=timeout) as told:
        for news in told.objects():
            if "error" in news:
                raise EngineError(f"The Docker Engine refuses the file system: {news['error']}")
    return tag_of(key)


def occupied(client: EngineClient, found: Mapping[str, Any], part: Part) -> bool:
    """See `Snapshots.occupied`."""
    if not is_bind(_mount_of(found, part)):
        return False
    query = {"path": f"{part.target}/."}
    with (
        client.open("GET", _archive(found["Id"]), params=query) as stream,
        tarfile.open(fileobj=cast("IO[bytes]", stream.raw), mode="r|") as tar,
    ):
        # The first entry is the folder itself.
        return bool(tar.next() and tar.next())


def fill(
    client: EngineClient, found: Mapping[str, Any], part: Part, source: PartSource, timeout: float
) -> None:
    """See `Snapshots.fill`."""
    _mount_of(found, part)
    query = {"path": part.target}
    data = _chunks(source)
    where = _archive(found["Id"])
    with client.open("PUT", where, params=query, data=data, timeout=timeout):
        return


def discard(client: EngineClient, key: str) -> None:
    """See `Snapshots.discard`."""
    try:
        client.api.remove_image(tag_of(key))
    except APIError as error:
        if error.status_code not in (404, 409):  # it is not there, or a container stands on it
            raise


def _with_own(config: Mapping[str, Any], client: EngineClient) -> dict[str, Any]:
    """An image's configuration with the variables that the engine adds to it."""
    return {**config, "Env": [*(config.get("Env") or ()), *client.dialect.variables]}


def _chunks(source: PartSource) -> Iterator[bytes]:
    while chunk := source.read(CHUNK):
        yield chunk


def _archive(container_id: str) -> str:
    return f"/containers/{quote(container_id, safe='')}/archive"


def _is_folder(client: EngineClient, container_id: str, mount: Mapping[str, Any]) -> bool:
    stat = path_stat(client, container_id, mount["Destination"])
    return bool(stat and stat["mode"] & GO_FOLDER)


def _mount_of(found: Mapping[str, Any], part: Part) -> Mapping[str, Any]:
    for mount in found["Mounts"]:
        if mount["Destination"] == part.target and mount["RW"]:
            return cast("Mapping[str, Any]", mount)
    raise EngineError(f"The container has no volume to be written to at {part.target}")
