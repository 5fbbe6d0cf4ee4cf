"""Keeps a second manager of the same instance away from the same engine."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from docker.constants import DEFAULT_UNIX_SOCKET, IS_WINDOWS_PLATFORM
from docker.errors import DockerException
from docker.utils import parse_host

from flow_manager_core.errors import ConfigurationError
from flow_manager_core.log import Log
from flow_manager_core.models import Fault
from flow_manager_docker.errors_map import Subject, translate

#: How the SDK writes the address of a local socket.
LOCAL = "http+unix://"


@contextmanager
def claimed(instance: str, log: Log) -> Iterator[None]:
    """Hold the instance on the engine that ``DOCKER_HOST`` names.

    An abstract Unix socket holds it: the kernel gives it to one process and takes it back with
    that process's end, whatever that was. Managers in other network namespaces, or on other hosts,
    are not seen.

    Raises:
        ConfigurationError: another manager holds it.
        SystemFault: the host refuses.
    """
    if sys.platform != "linux":
        log.debug("No abstract sockets here: a second manager of this instance is not noticed")
        yield
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as held:
        _bind(held, instance, engine_address())
        yield


def _bind(held: socket.socket, instance: str, engine: str) -> None:
    digest = hashlib.sha256(f"{engine}\0{instance}".encode()).hexdigest()
    try:
        held.bind(f"\0flow-manager-docker/{digest}")
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise translate(error, Subject()) from error
        told = f"another manager of the instance {instance!r} works with the engine at {engine}"
        raise ConfigurationError([Fault("instance", told)]) from None


def engine_address() -> str:
    """The engine's address, the same for all names of a local socket."""
    named = os.environ.get("DOCKER_HOST") or DEFAULT_UNIX_SOCKET
    try:
        url = str(parse_host(named, IS_WINDOWS_PLATFORM))
    except (DockerException, ValueError):  # every call will say so
        return named
    path = url.removeprefix(LOCAL)
    return url if path == url else os.path.realpath(path)
