"""Asks an HTTP server for the status of one path, and reads no more than that.

The protocol is h11's. Redirects are not followed: a container must not send the manager anywhere.
"""

from __future__ import annotations

import anyio
import h11

#: Bytes that are read at once; h11 refuses a head of more than 16 KiB.
CHUNK = 4096


async def ask_status(host: str, port: int, path: str) -> int:
    """GET a path; the caller has the deadline.

    Raises:
        OSError: there is no connection.
        ValueError: what comes is not HTTP.
        BrokenResourceError, EndOfStream: of anyio's, the connection broke off.
    """
    async with await anyio.connect_tcp(host, port) as stream:
        protocol = h11.Connection(our_role=h11.CLIENT)
        headers = [
            ("Host", f"{host}:{port}"),
            ("User-Agent", "flow-manager"),
            ("Connection", "close"),
        ]
        request = h11.Request(method="GET", target=path, headers=headers)
        await stream.send(
            (protocol.send(request) or b"") + (protocol.send(h11.EndOfMessage()) or b"")
        )
        try:
            while True:
                event = protocol.next_event()
                if isinstance(event, h11.Response):
                    return event.status_code
                if event is h11.NEED_DATA:
                    protocol.receive_data(await stream.receive(CHUNK))
        except h11.RemoteProtocolError as error:
            raise ValueError(f"what came is not HTTP: {error}") from None
