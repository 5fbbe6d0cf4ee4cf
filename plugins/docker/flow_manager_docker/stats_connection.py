"""A connection to the engine for one stats stream: no thread, and no wait but the event loop's.

The request is one of HTTP/1.0, so that the engine ends the answer with the connection and does not
cut it into chunks: after the head, each line is a sample.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from urllib.parse import quote, urlsplit

import anyio
from anyio.abc import ByteStream
from anyio.streams.buffered import BufferedByteReceiveStream
from attrs import frozen

from flow_manager_docker.client import EngineClient

#: Seconds without a line after which a stream counts as dead: Docker sends one each second,
#: Podman each five seconds.
SILENCE = 15.0
#: Bytes of an answer's head, and of a line; those of a machine with 256 processors have 10 KB.
HEAD_LIMIT, LINE_LIMIT = 65536, 1024 * 1024

PORTS = {"http": 80, "https": 443}


class Refused(Exception):
    """The engine answered with another status than 200."""


@frozen
class Endpoint:
    """Where an engine listens.

    Args:
        root: what its paths begin with.
        tls: ``None`` for a connection that anybody can read.
    """

    host: str
    port: int
    root: str = ""
    tls: ssl.SSLContext | None = None

    @classmethod
    def of(cls, client: EngineClient) -> Endpoint | None:
        """Where a client's engine is; ``None`` for one on this host, or behind SSH.

        Raises:
            OSError: a certificate cannot be read.
        """
        at = urlsplit(client.api.base_url)
        if client.local or at.scheme not in PORTS or at.hostname is None:
            return None
        tls = _tls(client) if at.scheme == "https" else None
        return cls(at.hostname, at.port or PORTS[at.scheme], at.path.rstrip("/"), tls)

    async def connect(self) -> ByteStream:
        """Connect.

        Raises:
            OSError: there is no connection.
        """
        if self.tls is None:
            return await anyio.connect_tcp(self.host, self.port)
        return await anyio.connect_tcp(
            self.host, self.port, ssl_context=self.tls, tls_standard_compatible=False
        )


def _tls(client: EngineClient) -> ssl.SSLContext:
    """What the SDK was told: ``verify`` is a file, or whether to check at all."""
    verify, cert = client.api.verify, client.api.cert
    context = ssl.create_default_context(cafile=verify if isinstance(verify, str) else None)
    if verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if cert:
        context.load_cert_chain(*((cert,) if isinstance(cert, str) else cert))
    return context


async def follow_stats(
    endpoint: Endpoint, container_id: str, timeout: float, take: Callable[[bytes], bool]
) -> None:
    """Read a container's stats until `take` has enough.

    Args:
        timeout: seconds that the engine may take to begin.
        take: called with each line; false: no more.

    Raises:
        Refused: the engine has no such container, or fails.
        TimeoutError: it says nothing.
        OSError, BrokenResourceError, IncompleteRead, DelimiterNotFound: the connection ended, or
            carries something else.
    """
    with anyio.fail_after(timeout):
        stream = await endpoint.connect()
    async with stream:
        source = BufferedByteReceiveStream(stream)
        with anyio.fail_after(timeout):
            await stream.send(_request(endpoint, container_id))
            _check(await source.receive_until(b"\r\n\r\n", HEAD_LIMIT))
        while True:
            with anyio.fail_after(SILENCE):
                line = await source.receive_until(b"\n", LINE_LIMIT)
            if not take(line):
                return


def _request(endpoint: Endpoint, container_id: str) -> bytes:
    path = f"{endpoint.root}/containers/{quote(container_id, safe='')}/stats?stream=1"
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    return f"GET {path} HTTP/1.0\r\nHost: {host}:{endpoint.port}\r\n\r\n".encode()


def _check(head: bytes) -> None:
    status = head.split(b"\r\n", 1)[0].split(b" ", 2)[1:2]
    if status != [b"200"]:
        raise Refused(head[:200].decode(errors="replace").splitlines()[0])
