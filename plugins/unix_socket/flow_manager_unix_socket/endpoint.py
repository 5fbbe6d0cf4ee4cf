"""The manager's end of one container's channel: listens, and runs the connections' handlers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
from anyio.abc import SocketListener, SocketStream, TaskStatus

from flow_manager_core.contracts import ConnectionHandler, Endpoint
from flow_manager_core.errors import ChannelError
from flow_manager_core.log import Log
from flow_manager_core.models import Attachment, Mount
from flow_manager_unix_socket.place import SOCKET_NAME, Place
from flow_manager_unix_socket.settings import UnixSocketSettings

#: Where a container finds its folder.
MOUNT_POINT = "/run/flow"
#: Seconds between two tries while connections cannot be accepted, for want of descriptors.
ACCEPT_PAUSE = 0.1

InThread = Callable[[Callable[[], object]], Awaitable[object]]


class UnixSocketEndpoint(Endpoint):
    """One listening socket and its connections.

    Args:
        place: where the socket stands.
        handler: gets each connection.
        settings: of the transport.
        log: tells what concerns this endpoint.
        in_thread: runs a function that touches the disk.
        forget: called once, when the endpoint is closed.
    """

    def __init__(
        self,
        place: Place,
        handler: ConnectionHandler,
        settings: UnixSocketSettings,
        log: Log,
        *,
        in_thread: InThread,
        forget: Callable[[], object],
    ) -> None:
        self.place = place
        self.address = str(place.address)
        self._handler = handler
        self._settings = settings
        self._log = log
        self._in_thread = in_thread
        self._forget = forget
        self._connections = 0
        self._crowded = False
        self._repair_failed = False
        self._turn = anyio.Lock()
        self._scope = anyio.CancelScope()
        self._ended = anyio.Event()
        self._listener: SocketListener | None = None
