"""The socket below one AMQP connection: made by us, so that we can cut it."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import anyio
from aiormq.connection import TransportFactory
from anyio import to_thread
from yarl import URL

#: Reading certificates is quick; it only must not wait for anybody else's blocking call.
_THREADS = 1


class UnusableCertificates(Exception):
    """What the URL's parameters name cannot be read, or is none."""


class Wire(TransportFactory):
    """Connects, hands the streams to aiormq, and can drop them whatever aiormq does.

    aiormq would log every attempt that fails, as an error; while a broker is away there are many.
    """

    def __init__(self, url: URL) -> None:
        self._url = url
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def dial(self) -> None:
        """Connect.

        Raises:
            OSError: nobody is there; `ssl.SSLCertVerificationError`: it is not to be trusted.
            UnusableCertificates: our own cannot be used.
        """
        context = None
        if self._url.scheme == "amqps":
            limiter = anyio.CapacityLimiter(_THREADS)
            context = await to_thread.run_sync(tls_context, self._url, limiter=limiter)
        self._streams = await asyncio.open_connection(self._url.host, self._url.port, ssl=context)

    async def create(
        self, url: URL, **_options: Any
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Hand the streams over; called by aiormq."""
        assert self._streams is not None
        return self._streams

    def cut(self) -> None:
        """Drop the connection with all that is buffered."""
        if self._streams is not None:
            self._streams[1].transport.abort()


def tls_context(url: URL) -> ssl.SSLContext:
    """Read the certificates that a URL's parameters name, as aiormq does.

    Raises:
        UnusableCertificates: one cannot be read.
    """
    query = url.query
    try:
        context = ssl.create_default_context(cafile=query.get("cafile"), capath=query.get("capath"))
        if "certfile" in query:
            context.load_cert_chain(query["certfile"], query.get("keyfile"))
    except OSError as error:
        raise UnusableCertificates(f"the URL's certificates cannot be used: {error}") from None
    return context
