"""A byte stream over a connected socket, on both event loops.

anyio's own stream for UNIX sockets lets a cancelled read meet arriving data on asyncio, which
ends in an `InvalidStateError` in the loop (as in anyio's issue 1267); its `wait_readable` does
not.
"""

from __future__ import annotations

import socket

import anyio
import anyio.lowlevel
from anyio.abc import ByteStream


class SocketStream(ByteStream):
    """Owns a connected stream socket. One reader and one writer at a time.

    Args:
        sock: made non-blocking here, closed by `aclose`.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._closed = False

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Return what has arrived, at least one byte.

        Raises:
            anyio.EndOfStream: the other side has ended its part.
            anyio.BrokenResourceError: the connection is broken.
            anyio.ClosedResourceError: this side has closed it.
        """
        await anyio.lowlevel.checkpoint_if_cancelled()
        while True:
            self._check_open()
            try:
                data = self._socket.recv(max_bytes)
            except (BlockingIOError, InterruptedError):
                await anyio.wait_readable(self._socket)
                continue
            except OSError as error:
                raise self._broken(error) from error
            if not data:
                raise anyio.EndOfStream
            return data

    async def send(self, item: bytes) -> None:
        """Hand all bytes to the kernel.

        Raises:
            anyio.BrokenResourceError: the connection is broken.
            anyio.ClosedResourceError: this side has closed it.
        """
        await anyio.lowlevel.checkpoint_if_cancelled()
        rest = memoryview(item)
        while rest:
            self._check_open()
            try:
                rest = rest[self._socket.send(rest) :]
            except (BlockingIOError, InterruptedError):
                await anyio.wait_writable(self._socket)
            except OSError as error:
                raise self._broken(error) from error

    def send_now(self, item: bytes) -> int:
        """Hand the kernel what it takes without waiting, and return how many bytes that is.

        Raises:
            anyio.BrokenResourceError: the connection is broken.
            anyio.ClosedResourceError: this side has closed it.
        """
        self._check_open()
        try:
            return self._socket.send(item)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            raise self._broken(error) from error

    async def send_eof(self) -> None:
        """End this side's part; the other side may go on."""
        self._check_open()
        self._socket.shutdown(socket.SHUT_WR)

    async def aclose(self) -> None:
        """Close at once; whoever waits on this stream gets `ClosedResourceError`."""
        if not self._closed:
            self._closed = True
            anyio.notify_closing(self._socket)
            self._socket.close()
        await anyio.lowlevel.checkpoint()

    def _check_open(self) -> None:
        if self._closed:
            raise anyio.ClosedResourceError

    def _broken(self, error: OSError) -> Exception:
        if self._closed:
            return anyio.ClosedResourceError()
        return anyio.BrokenResourceError(error.strerror or str(error))
