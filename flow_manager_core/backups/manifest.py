"""What a backup says of its container: a create's payload, and what the engine had besides.

It is read as a request of a client's would be: an archive can ask for nothing that a client cannot.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs
from attrs import evolve, frozen

from flow_manager_core.backups.layout import FORMAT, PART, part_member, refused
from flow_manager_core.backups.reading import Archive
from flow_manager_core.backups.writing import Written
from flow_manager_core.errors import InvalidRequest
from flow_manager_core.models import ContainerSpec, Fault, Mount, Part, PartKind, Snapshot
from flow_manager_core.requests import CreateContainer
from flow_manager_core.version import __version__
from flow_manager_core.wire import parse_request, plain, ports_body, timestamp

#: Levels of what a backend notes, such as the configuration of an image.
NOTES_DEPTH = 32


@frozen(kw_only=True)
class Manifest:
    """A backup's own words.

    Args:
        backend: by which it was made; it can be restored by that one alone.
        container: the payload of a create, without its code.
        has_code: whether the container has a code folder.
        container_id: what it was called when it was saved.
        left_out: what could not be kept, or was not to be.
    """

    backend: str
    made: datetime
    container_id: str
    container: Mapping[str, Any]
    has_code: bool
    parts: tuple[Part, ...]
    notes: Mapping[str, Any]
    left_out: tuple[str, ...] = ()

    def to_json(self, written: Mapping[str, Written]) -> dict[str, Any]:
        """As it stands in the archive.

        Args:
            written: the parts, by name.
        """
        return {
            "format": FORMAT,
            "manager": __version__,
            "made": timestamp(self.made),
            "backend": self.backend,
            "container_id": self.container_id,
            "container": dict(self.container),
            "has_code": self.has_code,
            "notes": plain(self.notes, NOTES_DEPTH),
            "left_out": list(self.left_out),
            "parts": [
                {**attrs.asdict(part), "kind": str(part.kind), **attrs.asdict(written[part.name])}
                for part in self.parts
            ],
        }

    @classmethod
    def read(cls, archive: Archive) -> Manifest:
        """Read what `to_json` wrote.

        Raises:
            InvalidRequest: it is something else, or does not fit the archive's parts.
        """
        body = archive.manifest
        try:
            told = cls(
                backend=_text(body["backend"]),
                made=datetime.fromisoformat(_text(body["made"])),
                container_id=_text(body["container_id"]),
                container=_container(body["container"]),
                has_code=body["has_code"] is True,
                parts=tuple(_part(entry, archive) for entry in body["parts"]),
                notes=_object(body["notes"]),
                left_out=tuple(_text(one) for one in body["left_out"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise refused(f"its manifest cannot be read: {error}") from None
        if [part.name for part in told.parts] != list(archive.parts):
            raise refused("its manifest names other parts than it holds")
        return told

    def request(self, name: str | None, volumes: Mapping[str, str]) -> CreateContainer:
        """The create that it asks for.

        Args:
            name: instead of its own.
            volumes: host paths of its own, and those of this host that are meant.

        Raises:
            InvalidRequest: no create may ask for that.
        """
        own = self.container.get("volumes", {})
        if not isinstance(own, dict):
            raise InvalidRequest([Fault("container.volumes", "must be an object")])
        if strange := [path for path in volumes if path not in own]:
            raise InvalidRequest(
                [Fault(f"volumes.{path}", "is no volume of the backup") for path in strange]
            )
        payload = {
            **self.container,
            "volumes": {volumes.get(path, path): mount for path, mount in own.items()},
            **({} if name is None else {"name": name}),
        }
        try:
            return parse_request(CreateContainer, payload)
        except InvalidRequest as error:
            faults = [Fault(f"container.{f.field}", f.message) for f in error.faults]
            raise InvalidRequest(faults) from None

    def snapshot(self, spec: ContainerSpec) -> Snapshot:
        """What a backend makes the container of."""
        return Snapshot(spec=spec, parts=self.parts, notes=self.notes, left_out=self.left_out)

    def without(self, kinds: tuple[PartKind, ...]) -> Manifest:
        """The same without some parts, which it names."""
        gone = [part for part in self.parts if part.kind in kinds]
        told = [f"{part.kind} {part.target}".strip() + ": excluded by request" for part in gone]
        return evolve(
            self,
            parts=tuple(part for part in self.parts if part not in gone),
            left_out=(*self.left_out, *told),
        )


def payload_of(spec: ContainerSpec) -> dict[str, Any]:
    """A spec as a client would write it; where its code and its image come from stays out."""
    check = spec.health_check
    body = {
        "image": spec.image,
        "name": spec.name,
        "environment": dict(spec.environment),
        "volumes": {mount.source: _mount(mount) for mount in spec.volumes},
        "ports": ports_body(spec.ports),
        "command": None if spec.command is None else list(spec.command),
        "working_dir": spec.working_dir,
        "labels": dict(spec.labels),
        "user": spec.user,
        "network": spec.network,
        "resources": _given(attrs.asdict(spec.resources)),
        "restart": _given(attrs.asdict(spec.restart)),
        "health_check": None if check is None else _given(attrs.asdict(check)),
        "stop_timeout": spec.stop_timeout,
    }
    return _given(body)


def _mount(mount: Mount) -> dict[str, str]:
    return {"bind": mount.target, "mode": "ro" if mount.read_only else "rw"}


def _given(body: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what has no value; enumerations become their texts."""
    return {
        key: str(value) if isinstance(value, str) else value
        for key, value in body.items()
        if value is not None
    }


def _part(entry: Mapping[str, Any], archive: Archive) -> Part:
    part = Part(_text(entry["name"]), PartKind(entry["kind"]), _text(entry["target"]))
    member = archive.parts.get(part.name)
    if not PART.fullmatch(part_member(part.name)) or member is None:
        raise ValueError(f"there is no part {part.name}")
    if (entry["size"], entry["sha256"]) != (member.size, member.sha256):
        raise ValueError(f"the part {part.name} is not the one that was written")
    return part


def _container(value: object) -> dict[str, Any]:
    """What is to be shown of it is there; the rest is judged when it is to be made."""
    found = _object(value)
    _text(found["name"])
    _text(found["image"])
    return found


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("not an object")
    return value
