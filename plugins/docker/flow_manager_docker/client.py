"""The SDK's client, made fit for threads: sockets that do not leak, streams that can be ended."""

from __future__ import annotations

import io
import json
import socket
import struct
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any, NoReturn
from urllib.parse import quote, urlsplit

import docker
import requests
from docker.constants import MINIMUM_DOCKER_API_VERSION
from docker.errors import DockerException, create_api_error_from_http_exception
from docker.transport import UnixHTTPAdapter
from docker.utils import kwargs_from_env

from flow_manager_docker.dialects import DOCKER, Dialect, dialect_of
from flow_manager_docker.socket_adapter import SocketAdapter

#: What the kernel says of a socket's peer: process, user and group; see unix(7).
CREDENTIALS = struct.Struct("3i")
#: Bytes that are read at once.
PIECE = 65536


class UnusableHost(DockerException):  # type: ignore[misc]  # the SDK has no types
    """``DOCKER_HOST`` and its family name no engine that could be asked."""


class EngineClient:
    """A client of the engine that ``DOCKER_HOST`` names; asks its API version when made.

    `api` is the SDK's own; `local` tells whether the engine is on this host; `dialect` is the
    engine's, if it was asked.

    Args:
        timeout: seconds that each read or write of its sockets may take.
        connections: how many threads use it at a time.
        ask_version: left out, nothing is asked, and `open` leaves the version to the engine.

    Raises:
        docker.errors.DockerException: there is no engine, or ``DOCKER_HOST`` is no address.
    """

    def __init__(self, timeout: float, connections: int = 1, *, ask_version: bool = True) -> None:
        self._timeout = timeout
        self._connections = connections
        self.api: Any = self._sdk(MINIMUM_DOCKER_API_VERSION)
        self._prefix = ""
        self.dialect: Dialect = DOCKER
        if ask_version:
            # The SDK asks through an adapter of its own, so this client asks itself.
            with self.api, self.open("GET", "/_ping") as told:
                version = told.headers.get("Api-Version", MINIMUM_DOCKER_API_VERSION)
                self.dialect = dialect_of(told.headers)
            self.api = self._sdk(version)
            self._prefix = f"/v{version}"
        adapter = self.api.get_adapter(self.api.base_url)
        self._socket = adapter if isinstance(adapter, SocketAdapter) else None
        self.local: bool = self._socket is not None

    @property
    def host(self) -> str:
        """The engine's host; empty when it is this one."""
        return "" if self.local else urlsplit(self.api.base_url).hostname or ""

    def _sdk(self, version: str) -> Any:
        try:
            made = docker.APIClient(version=version, timeout=self._timeout, **kwargs_from_env())
        except (ValueError, DockerException) as error:
            raise UnusableHost(f"DOCKER_HOST cannot be used: {error}") from error
        default = made.get_adapter(made.base_url)
        if isinstance(default, UnixHTTPAdapter):
            # Else every call would look through the environment for proxies, some 0.2 ms.
            made.trust_env = False
            path = default.socket_path
            made.mount(made.base_url, SocketAdapter(path, self._timeout, self._connections))
        return made

    def __enter__(self) -> EngineClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the idle connections."""
        self.api.close()

    def inspect(self, container_id: str) -> dict[str, Any]:
        """Ask about a container: the call that is made most, on a local socket without the SDK.

        Half of the time of the SDK's own call is spent between it and the socket.

        Raises:
            docker.errors.APIError: the engine refuses.
        """
        if self._socket is None:
            return dict(self.api.inspect_container(container_id))
        path = f"{self._prefix}/containers/{quote(container_id, safe='')}/json"
        answer = self._socket.get_connection(self.api.base_url).urlopen(
            "GET", path, retries=False, timeout=self._timeout
        )
        if answer.status != HTTPStatus.OK:
            _refuse(answer.status, answer.reason, answer.data)
        return dict(json.loads(answer.data))

    def open(self, method: str, path: str, **options: Any) -> EngineStream:
        """Send a request whose answer is read bit by bit.

        Args:
            method: of HTTP.
            path: below the API's version.
            options: of `requests.Session.request`.

        Raises:
            docker.errors.APIError: the engine refuses.
        """
        options.setdefault("timeout", self._timeout)
        # A packed archive would only cost time on a local socket.
        headers = {"Accept-Encoding": "identity", **options.pop("headers", {})}
        url = f"{self.api.base_url}{self._prefix}{path}"
        response = self.api.request(method, url, stream=True, headers=headers, **options)
        try:
            response.raise_for_status()
        except requests.HTTPError as error:
            with response:
                create_api_error_from_http_exception(error)
        return EngineStream(response)


def _refuse(status: int, reason: str | None, body: bytes) -> NoReturn:
    """Raise what the SDK would.

    Raises:
        docker.errors.APIError: always.
    """
    answer = requests.Response()
    answer.status_code, answer.reason, answer.raw = status, reason or "", io.BytesIO(body)
    told = f"{status} {reason}"
    create_api_error_from_http_exception(requests.HTTPError(told, response=answer))
    raise AssertionError(told)


class EngineStream:
    """An answer of the engine that comes bit by bit; a context manager that closes it."""

    def __init__(self, response: requests.Response) -> None:
        self._response = response
        self._socket: socket.socket | None = getattr(response.raw.connection, "sock", None)
        self.headers: Mapping[str, str] = response.headers
        self.raw: Any = response.raw

    def __enter__(self) -> EngineStream:
        return self

    def __exit__(self, *_: object) -> None:
        self._response.close()

    def peer(self) -> int | None:
        """The number of the process that listens at the other end of a local Unix socket.

        To be asked before the answer is read to its end. ``None``: cannot be told.
        """
        if sys.platform != "linux" or self._socket is None:
            return None
        if self._socket.family is not socket.AF_UNIX:
            return None
        told = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
        pid: int = CREDENTIALS.unpack(told)[0]
        return pid

    def json(self) -> Any:
        """Read the whole body as one JSON value."""
        return self._response.json()

    def drain(self) -> None:
        """Read the body to its end, so that the connection can be used again."""
        for _ in self.chunks():
            pass

    def wait_forever(self) -> None:
        """Take away the limit on the time between two reads."""
        if self._socket is not None:
            self._socket.settimeout(None)

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it comes."""
        yield from self._response.iter_content(chunk_size=None)

    def pieces(self) -> Iterator[bytes]:
        """Yield the body as it comes, of an answer that is not chunked: `chunks` waits for its end.

        Raises:
            urllib3.exceptions.HTTPError: nothing came for as long as a read may take.
        """
        while piece := self.raw.read1(PIECE):
            yield piece

    def objects(self) -> Iterator[dict[str, Any]]:
        """Yield the body's JSON objects, one a line."""
        pending = b""
        for chunk in self.chunks():
            *lines, pending = (pending + chunk).split(b"\n")
            yield from (json.loads(line) for line in lines if line.strip())
        if pending.strip():
            yield json.loads(pending)

    def abort(self) -> None:
        """End the stream under its reader, from any thread."""
        if self._socket is not None:
            with suppress(OSError):  # it has ended by itself
                self._socket.shutdown(socket.SHUT_RDWR)


class Abortable:
    """Lets one thread end the stream that another opens and reads, even before it is open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stream: EngineStream | None = None
        self.aborted: bool = False

    def adopt(self, stream: EngineStream) -> bool:
        """Take a stream that was just opened; false when it is no longer wanted."""
        with self._lock:
            self._stream = stream
            return not self.aborted

    def abort(self) -> None:
        """End the stream, or keep it from being read."""
        with self._lock:
            self.aborted = True
            if self._stream is not None:
                self._stream.abort()
