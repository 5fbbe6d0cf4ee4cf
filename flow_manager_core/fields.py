"""The types of request fields that need more than a JSON type, each with its check.

A check takes the JSON value and returns the value as the models want it, or raises `Faulty` with
everything that is wrong with it.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, NewType

import attrs

from flow_manager_core.models import (
    ACTIVITY_TYPES,
    Fault,
    Mount,
    PartKind,
    PortMapping,
    ResourceUsage,
)
from flow_manager_core.structuring import (
    Faulty,
    describe,
    integer,
    mapping,
    number,
    sequence,
    text,
)

ContainerRef = NewType("ContainerRef", str)
ContainerName = NewType("ContainerName", str)
RequestId = NewType("RequestId", str)
AskerName = NewType("AskerName", str)
ActivityKinds = NewType("ActivityKinds", frozenset[str])
Offset = NewType("Offset", int)
PageSize = NewType("PageSize", int)
FollowId = NewType("FollowId", str)
Epoch = NewType("Epoch", str)
EventNumber = NewType("EventNumber", int)
EventNames = NewType("EventNames", tuple[str, ...])
ContainerRefs = NewType("ContainerRefs", tuple[str, ...])
LogPart = NewType("LogPart", str)
ImageName = NewType("ImageName", str)
AbsolutePath = NewType("AbsolutePath", str)
UserName = NewType("UserName", str)
NetworkName = NewType("NetworkName", str)
Environment = NewType("Environment", dict[str, str])
Labels = NewType("Labels", dict[str, str])
LabelFilter = NewType("LabelFilter", dict[str, str])
Volumes = NewType("Volumes", tuple[Mount, ...])
Ports = NewType("Ports", tuple[PortMapping, ...])
Command = NewType("Command", tuple[str, ...])
Seconds = NewType("Seconds", float)
PositiveSeconds = NewType("PositiveSeconds", float)
TimeToLive = NewType("TimeToLive", float)
MessageId = NewType("MessageId", str)
PageLimit = NewType("PageLimit", int)
GrowthFactor = NewType("GrowthFactor", float)
Share = NewType("Share", float)
MemoryBytes = NewType("MemoryBytes", int)
CpuCount = NewType("CpuCount", float)
PositiveCount = NewType("PositiveCount", int)
PortNumber = NewType("PortNumber", int)
MessageCommand = NewType("MessageCommand", str)
JsonValue = NewType("JsonValue", object)
UrlPath = NewType("UrlPath", str)
ThresholdChanges = NewType("ThresholdChanges", dict[str, float | None])
BackupPath = NewType("BackupPath", str)
PathMap = NewType("PathMap", dict[str, str])
PartKinds = NewType("PartKinds", tuple[PartKind, ...])

#: What can have a threshold: every number that is measured.
MEASURES = tuple(a.name for a in attrs.fields(ResourceUsage) if a.name != "timestamp")
#: Beyond every number of bytes that can be used.
LARGEST = float(2**60)

#: Labels that the manager sets itself, or that engines and their tools believe; a client cannot
#: set them. Docker reserves the latter: https://docs.docker.com/config/labels-custom-metadata/
LABEL_PREFIX = "flow-manager."
RESERVED_LABELS = (LABEL_PREFIX, "com.docker.", "io.docker.", "org.dockerproject.", "io.podman.")
RESERVED_VARIABLES = frozenset({"FLOW_SOCKET", "FLOW_SECRET", "SOCKET_PATH"})
#: The kernel's own folders, and where transports put a channel.
RESERVED_TARGETS = ("/proc", "/sys", "/dev", "/run/flow")

#: Docker takes longer names, but the name is a file's name and a host name as well.
NAME_LIMIT = 63
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]+")
USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?")
NETWORK = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
URL_PATH = re.compile(r"/[!-~]*")
DIGEST = re.compile(r"[A-Za-z0-9_+.-]+:[0-9a-fA-F]{32,}")
PORT = re.compile(r"([0-9]{1,5})(?:/(tcp|udp))?")

#: Linux's limit for one argument or variable; the whole set is held to it as well.
ENVIRONMENT_LIMIT = 128 * 1024
#: The least memory that Docker gives a container.
LEAST_MEMORY = 6 * 1024 * 1024
#: Lines of the history that a request can pass over, and that it can ask for.
FARTHEST = 100_000
LARGEST_PAGE = 1000
LONGEST = 24 * 3600.0
#: Of a message that waits for its flow: a year.
LONGEST_LIFE = 365 * 24 * 3600.0
#: With a larger one a second delay would be the longest already.
STEEPEST = 1000.0


def container_name(value: object) -> str:
    """A name that is safe as a file name, a host name and a container's name."""
    found = text(value, least=2, most=NAME_LIMIT)
    if not NAME.fullmatch(found):
        raise Faulty("must start with a letter or digit and hold only letters, digits, _ . -")
    return found


def image_name(value: object) -> str:
    """An image reference, or a program's path for the process backend."""
    found = text(value, least=1, most=512)
    if not found.isprintable() or found != found.strip() or found.startswith("-"):
        raise Faulty("must be an image name: printable, no spaces around it, not starting with -")
    before, at, digest = found.partition("@")
    if "://" in found or (at and "/" not in before and not DIGEST.fullmatch(digest)):
        # It would be quoted in answers, events and the log.
        raise Faulty("must not be a URL or hold credentials: those are docker login's")
    return found


def printable(value: object, *, most: int) -> str:
    """A text of at least one character, without control characters."""
    found = text(value, least=1, most=most)
    if not found.isprintable():
        raise Faulty("must not contain control characters")
    return found


def matching(pattern: re.Pattern[str], told: str) -> Callable[[object], str]:
    """Make a check for texts of at most 64 characters that match a pattern as a whole."""

    def check(value: object) -> str:
        found = text(value, least=1, most=64)
        if not pattern.fullmatch(found):
            raise Faulty(told)
        return found

    return check


def network_name(value: object) -> str:
    """The name of an engine's network, never the host's own or another container's."""
    found = matching(NETWORK, "must be a network's name")(value)
    if found == "host":
        raise Faulty("must not be the host's network")
    return found


def absolute_path(value: object) -> str:
    """An absolute path without ``..``, in its shortest form."""
    found = text(value, least=1, most=4096)
    if not found.startswith("/"):
        raise Faulty("must be an absolute path")
    if ".." in found.split("/"):
        raise Faulty("must not contain ..")
    if not found.isprintable():
        raise Faulty("must not contain control characters")
    return posixpath.normpath("/" + found.lstrip("/"))


def environment(value: object) -> dict[str, str]:
    """Variables: names without ``=``, none of the manager's own, 128 KiB in all."""
    try:
        found = mapping(value, _variable)
    except Faulty as error:
        raise Faulty(*(Fault(_up_to_equals(f.field), f.message) for f in error.faults)) from None
    size = sum(len(k.encode()) + len(v.encode()) + 2 for k, v in found.items())
    if size > ENVIRONMENT_LIMIT:
        raise Faulty(f"must be at most {ENVIRONMENT_LIMIT} bytes in all, not {size}")
    return found


def _up_to_equals(name: str) -> str:
    """A name with ``=`` in it is a whole assignment, most likely: its value must not be told."""
    before, equals, _ = name.partition("=")
    return f"{before}=..." if equals else name


def _variable(key: str, value: object) -> str:
    if not key or not key.isprintable() or "=" in key:
        raise Faulty("a variable's name must be printable, not empty, and without =")
    if key in RESERVED_VARIABLES:
        raise Faulty("is set by the manager")
    return text(value, most=ENVIRONMENT_LIMIT)


def labels(value: object) -> dict[str, str]:
    """Labels of the client's own; the manager's prefix is not theirs to use."""

    def check(key: str, item: object) -> str:
        for prefix in RESERVED_LABELS:
            if key.startswith(prefix):
                raise Faulty(f"labels that start with {prefix} are not the client's")
        printable(key, most=256)
        return text(item, most=4096)

    return mapping(value, check, most=200)


def label_filter(value: object) -> dict[str, str]:
    """Labels to look for, any."""
    return mapping(value, lambda _key, item: text(item, most=4096), most=200)


def volumes(value: object) -> tuple[Mount, ...]:
    """Host paths to container paths, or to ``{bind, mode}``."""
    found = mapping(value, _volume, most=100)
    targets = [mount.target for mount in found.values()]
    twice = {target for target in targets if targets.count(target) > 1}
    if twice:
        raise Faulty(*(Fault("", f"{target} is mounted twice") for target in sorted(twice)))
    return tuple(found.values())


def _volume(key: str, value: object) -> Mount:
    source = _without_colon(absolute_path(key))
    bind, mode = value, "rw"
    if isinstance(value, dict):
        unknown = [Fault(str(k), "unknown field") for k in value if k not in ("bind", "mode")]
        if unknown:
            raise Faulty(*unknown)
        bind, mode = value.get("bind"), value.get("mode", "rw")
        if mode not in ("rw", "ro"):
            raise Faulty(Fault("mode", "must be rw or ro"))
    target = _without_colon(absolute_path(bind))
    if target == "/":
        raise Faulty("must not be mounted over the container's root")
    for own in RESERVED_TARGETS:
        if target == own or target.startswith(f"{own}/"):
            raise Faulty(f"must not be mounted in {own}, which is not the client's to fill")
    return Mount(source, target, read_only=mode == "ro")


def _without_colon(path: str) -> str:
    if ":" in path:
        raise Faulty("must not contain a colon")
    return path


def ports(value: object) -> tuple[PortMapping, ...]:
    """Container ports to host ports; no host port and no container port twice."""
    found = tuple(mapping(value, _port, most=200).values())
    faults = [
        *_twice([p.key for p in found], "container port"),
        *_twice([f"{p.host_port}/{p.protocol}" for p in found if p.host_port], "host port"),
    ]
    if faults:
        raise Faulty(*faults)
    return found


def _port(key: str, value: object) -> PortMapping:
    match = PORT.fullmatch(key)
    if not match or not 1 <= int(match[1]) <= 65535:
        raise Faulty('a container port must look like "8080" or "8080/udp", from 1 to 65535')
    protocol: Literal["tcp", "udp"] = "udp" if match[2] == "udp" else "tcp"
    return PortMapping(int(match[1]), integer(value, least=0, most=65535), protocol)


def _twice(keys: list[str], told: str) -> list[Fault]:
    return [Fault("", f"{told} {k} is given twice") for k in sorted(set(keys)) if keys.count(k) > 1]


def command(value: object) -> tuple[str, ...]:
    """A list of arguments, or one text that is split as a shell would."""
    if isinstance(value, str):
        try:
            value = shlex.split(text(value))
        except ValueError as error:
            raise Faulty(f"cannot be split into arguments: {error}") from None
    if not isinstance(value, (list, tuple)):
        raise Faulty(f"must be a list of arguments or a string, not {describe(value)}")
    return sequence(value, lambda item: text(item, most=ENVIRONMENT_LIMIT), least=1)


def url_path(value: object) -> str:
    """The path of an HTTP server in the container, with its query; a URL would lead elsewhere."""
    found = text(value, least=1, most=2048)
    if not URL_PATH.fullmatch(found):
        raise Faulty("must be a path that begins with / and has no spaces, not a URL")
    return found


def threshold_changes(value: object) -> dict[str, float | None]:
    """Thresholds by what is measured; ``null`` takes one away."""

    def check(name: str, threshold: object) -> float | None:
        if name not in MEASURES:
            raise Faulty(f"is not measured; known are {', '.join(MEASURES)}")
        return None if threshold is None else number(threshold, least=0, most=LARGEST)

    return mapping(value, check)


def json_value(value: object) -> object:
    """Any JSON value; whether it can be sent is the frame's matter."""
    return value


def path_map(value: object) -> dict[str, str]:
    """Absolute paths to absolute paths."""

    def check(key: str, item: object) -> str:
        absolute_path(key)
        return absolute_path(item)

    return {absolute_path(key): item for key, item in mapping(value, check, most=100).items()}


def part_kinds(value: object) -> tuple[PartKind, ...]:
    """A list of kinds of parts."""
    known = [str(kind) for kind in PartKind]

    def check(item: object) -> PartKind:
        if item not in known:
            raise Faulty(f"must be one of {', '.join(known)}")
        return PartKind(text(item))

    return sequence(value, check, most=len(known))


def activity_kinds(value: object) -> frozenset[str]:
    """A list of activity types; each unknown one is a fault."""

    def check(item: object) -> str:
        found = text(item, most=64)
        if found not in ACTIVITY_TYPES:
            raise Faulty(f"must be one of {', '.join(ACTIVITY_TYPES)}")
        return found

    return frozenset(sequence(value, check, most=len(ACTIVITY_TYPES)))


#: Every field type of this module with its check.
CHECKS: Mapping[Any, Callable[[object], Any]] = {
    ContainerRef: lambda v: text(v, least=1, most=128),
    ContainerName: container_name,
    RequestId: lambda v: printable(v, most=128),
    AskerName: lambda v: printable(v, most=128),
    ActivityKinds: activity_kinds,
    PageSize: lambda v: integer(v, least=1, most=LARGEST_PAGE),
    FollowId: lambda v: text(v, least=1, most=64),
    Epoch: lambda v: text(v, least=1, most=64),
    EventNumber: lambda v: integer(v, least=0, most=2**53),
    EventNames: lambda v: sequence(v, partial(text, least=1, most=128), most=100),
    ContainerRefs: lambda v: sequence(v, partial(text, least=1, most=128), most=100),
    LogPart: lambda v: printable(v, most=64),
    ImageName: image_name,
    AbsolutePath: absolute_path,
    UserName: matching(USER, "must be a user's name or number, with an optional :group"),
    NetworkName: network_name,
    Environment: environment,
    Labels: labels,
    LabelFilter: label_filter,
    Volumes: volumes,
    Ports: ports,
    Command: command,
    Seconds: lambda v: number(v, least=0, most=LONGEST),
    PositiveSeconds: lambda v: number(v, least=0.001, most=LONGEST),
    TimeToLive: lambda v: number(v, least=0.001, most=LONGEST_LIFE),
    MessageId: lambda v: printable(v, most=128),
    PageLimit: lambda v: integer(v, least=1, most=1000),
    Offset: lambda v: integer(v, least=0, most=FARTHEST),
    GrowthFactor: lambda v: number(v, least=1, most=STEEPEST),
    Share: lambda v: number(v, least=0, most=1),
    MemoryBytes: lambda v: integer(v, least=LEAST_MEMORY, most=2**50),
    CpuCount: lambda v: number(v, least=0.001, most=1024),
    PositiveCount: lambda v: integer(v, least=1, most=10_000_000),
    PortNumber: lambda v: integer(v, least=1, most=65535),
    MessageCommand: lambda v: text(v, least=1, most=1024),
    JsonValue: json_value,
    ThresholdChanges: threshold_changes,
    UrlPath: url_path,
    BackupPath: lambda v: printable(v, most=4096),
    PathMap: path_map,
    PartKinds: part_kinds,
}
