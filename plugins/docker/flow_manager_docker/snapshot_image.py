"""An image made of a container's file system, as ``docker load`` takes it.

One layer, and the configuration of the image that the container was made of: so an engine that
has never had that image runs the container as it was, and neither variables nor labels of the
container are in the image.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flow_manager_core.contracts import PartSource
from flow_manager_core.errors import EngineError
from flow_manager_docker.labels import ORIGIN, PREFIX

#: With a registry that is none: no engine will look for it elsewhere.
REPOSITORY = "localhost/flow-manager-restored"
LAYER = "filesystem.tar"
#: Bytes at a time.
CHUNK = 256 * 1024


def tag_of(key: str) -> str:
    """What the image of a restore is called."""
    return f"{REPOSITORY}:{key}"


def notes_of(image: Mapping[str, Any]) -> dict[str, Any]:
    """What a backup keeps of an image, of ``GET /images/{name}/json``."""
    return {
        "architecture": image["Architecture"],
        "os": image["Os"],
        "variant": image.get("Variant") or "",
        "created": image["Created"],
        "config": image["Config"],
    }


def config_of(notes: Mapping[str, Any], origin: str, layer: str) -> bytes:
    """The image's own JSON.

    Args:
        notes: see `notes_of`.
        origin: the name of the image that the container was first made of.
        layer: the SHA-256 of the layer.

    Raises:
        EngineError: the notes are of something else.
    """
    config = notes.get("config")
    if not isinstance(config, dict):
        raise EngineError("The backup does not say how its image is configured")
    labels = config.get("Labels") or {}
    kept = {k: v for k, v in dict(labels).items() if not str(k).startswith(PREFIX)}
    body = {key: notes.get(key) for key in ("architecture", "os", "variant", "created")}
    layers = {"type": "layers", "diff_ids": [f"sha256:{layer}"]}
    whole = {
        **{key: value for key, value in body.items() if value},
        "config": {**config, "Labels": {**kept, ORIGIN: origin}},
        "rootfs": layers,
        "history": [{"created": notes.get("created"), "comment": "restored from a backup"}],
    }
    return json.dumps(whole, sort_keys=True).encode()


def load_stream(
    tag: str, config: Callable[[str], bytes], source: PartSource, size: int
) -> Iterator[bytes]:
    """The archive that ``docker load`` takes, bit by bit.

    The layer comes first, as its digest is known when it was passed on.

    Args:
        config: makes the image's JSON for a layer's SHA-256.
        size: of the layer, in bytes.
    """
    digest = hashlib.sha256()
    yield _header(LAYER, size)
    while chunk := source.read(CHUNK):
        digest.update(chunk)
        yield chunk
    yield bytes(-size % tarfile.BLOCKSIZE)
    text = config(digest.hexdigest())
    name = f"{hashlib.sha256(text).hexdigest()}.json"
    yield from _member(name, text)
    manifest = [{"Config": name, "RepoTags": [tag], "Layers": [LAYER]}]
    yield from _member("manifest.json", json.dumps(manifest).encode())
    yield bytes(2 * tarfile.BLOCKSIZE)


def _member(name: str, content: bytes) -> Iterator[bytes]:
    yield _header(name, len(content))
    yield content + bytes(-len(content) % tarfile.BLOCKSIZE)


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)
