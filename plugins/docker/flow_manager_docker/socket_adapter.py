"""How the SDK's client reaches a Unix socket: one pool of connections, none of them leaked."""

from __future__ import annotations

import socket
from typing import Any

from docker.transport import UnixHTTPAdapter
from docker.transport.unixconn import UnixHTTPConnection, UnixHTTPConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

#: The pool's key. The host is never looked up: there is one socket behind it.
ANY_URL = "http+docker://localhost"


class _Connection(UnixHTTPConnection):  # type: ignore[misc]  # the SDK has no types
    def connect(self) -> None:
        """Connect; where nobody listens, close the socket, which the SDK's own does not.

        Raises:
            urllib3.exceptions.ConnectTimeoutError: there is no connection, so nothing was sent;
                the SDK's own errors are the same before and after sending.
        """
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            made.settimeout(self.timeout)
            made.connect(self.unix_socket)
        except TimeoutError as error:
            made.close()
            raise ConnectTimeoutError(str(error)) from error
        except OSError as error:
            made.close()
            raise NewConnectionError(self, str(error)) from error
        self.sock = made


class _Pool(UnixHTTPConnectionPool):  # type: ignore[misc]  # the SDK has no types
    def _new_conn(self) -> _Connection:
        return _Connection(self.base_url, self.socket_path, self.timeout)


class SocketAdapter(UnixHTTPAdapter):  # type: ignore[misc]  # the SDK has no types
    """Keeps one pool for the socket; the SDK's own keeps one for each URL ever asked for.

    Args:
        path: of the socket.
        timeout: seconds.
        connections: how many are kept.
    """

    def __init__(self, path: str, timeout: float, connections: int) -> None:
        super().__init__(f"http+unix://{path}", timeout, max_pool_size=connections)

    def get_connection(self, url: bytes | str, proxies: Any = None) -> _Pool:
        """Give the pool, whatever the URL."""
        with self.pools.lock:
            pool: _Pool | None = self.pools.get(ANY_URL)
            if pool is None:
                pool = _Pool(ANY_URL, self.socket_path, self.timeout, maxsize=self.max_pool_size)
                self.pools[ANY_URL] = pool
            return pool
