"""Where the manager is: a Unix socket's path, or ``tcp://host:port`` with a secret."""

from __future__ import annotations

import os
import socket
from urllib.parse import urlsplit

from flow_manager_sdk.errors import NoSocket

VARIABLES = ("FLOW_SOCKET", "SOCKET_PATH")
SECRET = "FLOW_SECRET"
#: Seconds that the manager may take to let a connection in. Over a network a first packet may be
#: lost; it is sent again after a second.
UNIX_TIMEOUT = 1.0
TCP_TIMEOUT = 3.0
_SCHEME = "tcp://"
#: A manager whose host is gone is noticed after 60 s; not every system can set it so.
_KEEPALIVE = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))


def socket_path() -> str:
    """Return where the manager is, a path or ``tcp://host:port``, from the environment.

    Raises:
        NoSocket: no variable names it.
    """
    for name in VARIABLES:
        if os.environ.get(name):
            return os.environ[name]
    told = "Neither %s nor %s is set: this program talks to the flow manager that starts it"
    raise NoSocket(told % VARIABLES)


class Address:
    """A manager's address, complete.

    Args:
        path: of a Unix socket, or ``tcp://host:port``; left out: from the environment.
        secret: what to show at a TCP address; left out: from the environment.

    Raises:
        NoSocket: something is missing, or is no such address.
    """

    def __init__(self, path: str | None = None, secret: str | None = None) -> None:
        self.text: str = path or socket_path()
        self._tcp = _host_and_port(self.text) if self.text.startswith(_SCHEME) else None
        #: Empty for a Unix socket, which nobody else can reach.
        self.secret: str = (secret or _environment_secret()) if self._tcp else ""

    def dial(self) -> socket.socket:
        """Connect.

        Raises:
            OSError: nobody listens there.
        """
        if self._tcp is None:
            return _dial_unix(self.text)
        connection = socket.create_connection(self._tcp, TCP_TIMEOUT)
        try:
            _prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection


def _host_and_port(text: str) -> tuple[str, int]:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port:
        raise NoSocket("This is no address of a flow manager, as in tcp://host:port: " + text)
    return host, port


def _environment_secret() -> str:
    found = os.environ.get(SECRET)
    if not found:
        raise NoSocket(f"The manager is at a TCP address, and {SECRET} is not set")
    return found


def _dial_unix(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(UNIX_TIMEOUT)
        connection.connect(path)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: socket.socket) -> None:
    if connection.getsockname() == connection.getpeername():
        # Where nobody listens, TCP may connect a program to itself, by way of the same port.
        raise ConnectionRefusedError("nobody listens")
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE:
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
