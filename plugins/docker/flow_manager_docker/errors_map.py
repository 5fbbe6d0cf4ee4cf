"""The one place that gives the failures of the engine, its client and the host the core's names."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable, Iterator
from typing import Any

import requests
import urllib3
from attrs import field, frozen
from docker.errors import APIError, DockerException

from flow_manager_core.errors import (
    ContainerNotFound,
    EngineError,
    EngineUnavailable,
    FlowManagerError,
    ImageNotFound,
    SystemFault,
)
from flow_manager_docker.client import UnusableHost

PORT_HINT = (
    "Check for processes using the port (netstat -ano); use a different port;"
    " stop the process using the port"
)
START_HINT = (
    "Check the container's logs; verify volume mounts and permissions;"
    " check system resources (memory, disk space)"
)
#: Moby keeps no record of a start that its end cut off, while containerd keeps the task.
STUCK_HINT = (
    "The Docker Engine was killed while it started this container, and will not start it again:"
    " delete it and create it anew"
)
NAME_HINT = "Choose another name, or delete the container that has it"
AWAY_HINT = "Check that the Docker daemon runs, and that DOCKER_HOST names it"
PERMISSION_HINT = (
    "Verify permissions: the user that runs the manager must be allowed to use the socket of"
    " the Docker daemon (as a rule by the group docker)"
)

#: Characters of the engine's own words that a message keeps.
TOLD = 500

#: Words of registries and of the engine's resolver, in the order in which they decide: a registry
#: that cannot be asked may still be told as "not found".
AWAY_WORDS = (
    "connection refused",
    "no such host",
    "i/o timeout",
    "timeout exceeded",
    "handshake timeout",
    "network is unreachable",
    "no route to host",
    "connection reset",
    "server misbehaving",
    "unexpected http status: 5",
    "status 5",
    "toomanyrequests",
    ": eof",
)
REFUSED_WORDS = (
    "unauthorized",
    "denied",
    "no basic auth credentials",
    "authentication required",
    "incorrect username or password",
)
ABSENT_WORDS = ("manifest unknown", "not found", "name unknown", "does not exist", "no such image")


class PullRefused(Exception):
    """The engine said in the midst of a pull's stream why it cannot go on."""


#: What the SDK and the libraries below it raise when no answer came.
CLIENT_FAILURES = (DockerException, requests.RequestException, urllib3.exceptions.HTTPError)

#: What a blocking call may raise by the engine's, the network's or the host's doing.
ENGINE_FAILURES = (
    *CLIENT_FAILURES,
    tarfile.TarError,
    PullRefused,
    OSError,
    json.JSONDecodeError,
)


TIMEOUTS = (requests.Timeout, urllib3.exceptions.TimeoutError)

#: There was no connection to send the call over. A connection that broke is none of them: a kept
#: one that the engine has closed is found out by sending.
UNSENT = (urllib3.exceptions.ConnectTimeoutError, UnusableHost)


@frozen(kw_only=True)
class Subject:
    """What a call is about, for the message of its failure.

    Args:
        starting: whether it is a start.
        pulling: whether it fetches an image from a registry.
        secrets: texts that no message may hold.
    """

    container_id: str = ""
    name: str = ""
    image: str = ""
    starting: bool = False
    pulling: bool = False
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @property
    def short_id(self) -> str:
        """The id as clients know it."""
        return self.container_id[:12]

    def details(self) -> dict[str, Any]:
        """What an error's details say of it."""
        known = {"container_id": self.short_id, "name": self.name, "image": self.image}
        return {key: value for key, value in known.items() if value}


def translate(error: Exception, subject: Subject) -> FlowManagerError:
    """Name a failure.

    Args:
        error: one of `ENGINE_FAILURES`, or a `ValueError` for an answer that is no JSON.
    """
    if isinstance(error, APIError):
        return _api_error(error, subject)
    if isinstance(error, PullRefused):
        return _pull_error(_clean(str(error), subject), subject, retryable=False)
    if isinstance(error, tarfile.TarError):
        told = f"The archive cannot be read: {_clean(str(error), subject)}"
        return EngineError(told, **subject.details())
    if isinstance(error, CLIENT_FAILURES):
        return _unavailable(error, subject)
    if isinstance(error, ValueError):
        told = f"The Docker Engine's answer cannot be read: {_clean(str(error), subject)}"
        return EngineError(told, retryable=True, **subject.details())
    return SystemFault(f"The host refuses: {error.args[-1] if error.args else error}")


def container_not_found(subject: Subject) -> ContainerNotFound:
    """Say that there is no such container of this manager."""
    return ContainerNotFound(f"Container not found: {subject.short_id}", **subject.details())


def _api_error(error: APIError, subject: Subject) -> FlowManagerError:
    told = _clean(str(error.explanation or error.response.reason), subject)
    status = error.status_code or 0
    words = told.lower()
    if subject.pulling:
        return _pull_error(told, subject, retryable=status >= 500)
    if status == 404 and "no such image" in words:
        return ImageNotFound(f"Image not found: {subject.image}", **subject.details())
    if status == 404 and "no such container" in words and subject.container_id:
        return container_not_found(subject)
    if "port is already allocated" in words or "address already in use" in words:
        said = f"The port is already allocated: {told.rpartition('): ')[2]}"
        return EngineError(said, hint=PORT_HINT, **subject.details())
    if status == 409 and "is already in use by container" in words:
        said = f"The name {subject.name} is already in use by another container"
        return EngineError(said, hint=NAME_HINT, **subject.details())
    return EngineError(
        f"The Docker Engine refuses: {told}",
        retryable=status >= 500 or status == 409,
        hint=_start_hint(words) if subject.starting else None,
        **subject.details(),
    )


def _start_hint(words: str) -> str:
    stuck = words.startswith("task ") and words.endswith(": already exists")
    return STUCK_HINT if stuck else START_HINT


def _pull_error(told: str, subject: Subject, *, retryable: bool) -> FlowManagerError:
    words = told.lower()
    said = f"The image {subject.image} cannot be pulled: {told}"
    if any(word in words for word in AWAY_WORDS):
        hint = "Check that the image's registry can be reached from the Docker Engine's host"
        return EngineError(said, retryable=True, hint=hint, **subject.details())
    if any(word in words for word in (*REFUSED_WORDS, *ABSENT_WORDS)):
        return ImageNotFound(said, **subject.details())
    return EngineError(said, retryable=retryable, **subject.details())


def _unavailable(error: Exception, subject: Subject) -> EngineUnavailable:
    causes = list(_causes(error))
    root = next((c for c in causes if isinstance(c, OSError) and c.errno), None)
    refused = any(isinstance(c, urllib3.exceptions.NewConnectionError) for c in causes)
    if not refused and any(isinstance(c, TIMEOUTS) for c in causes):
        told, hint = "it did not answer in time", AWAY_HINT
    elif isinstance(root, PermissionError):
        told, hint = "permission denied", PERMISSION_HINT
    else:
        told, hint = str(root.strerror) if root else _clean(str(error), subject), AWAY_HINT
    said = f"The Docker Engine is not available: {told}"
    unsent = any(isinstance(c, UNSENT) for c in causes)
    return EngineUnavailable(said, unsent=unsent, hint=hint, **subject.details())


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Walk through what libraries wrap, outermost first."""
    yield error
    inner = [error.__cause__, getattr(error, "reason", None), *error.args]
    for cause in inner:
        if isinstance(cause, BaseException):
            yield from _causes(cause)


def _spellings(secrets: Iterable[str]) -> list[str]:
    """Texts as they are, and as JSON, Go and Python quote them; the longest first."""
    found = set(secrets)
    for secret in secrets:
        found |= {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
        found |= {repr(secret)[1:-1], secret.encode("unicode_escape").decode()}
    return sorted(found, key=len, reverse=True)


def _clean(told: str, subject: Subject) -> str:
    """Leave out secrets and keep to one line of a bearable length."""
    for spelling in _spellings(subject.secrets):
        told = told.replace(spelling, "***")
    line = " ".join(told.split())
    return line if len(line) <= TOLD else f"{line[:TOLD]}..."
