"""The place of durable messages in a channel: each connection has a line."""

from __future__ import annotations

from collections.abc import Callable

from flow_manager_core.connection import Connection
from flow_manager_core.heartbeat import DurableHello
from flow_manager_core.models import Message


class Line:
    """What one connection has to do with durable messages; this one has nothing."""

    #: Whether the flow has said that it takes part.
    on: bool = False

    async def greeted(self, hello: DurableHello | None) -> None:
        """The flow has said hello; ``None``: it takes no part."""

    async def take(self, _message: Message, _size: int, _answers: Answers) -> bool:
        """Take what came, if it is an acknowledgement or durable; tell whether it is.

        Args:
            size: bytes of its frame.
            answers: gives a message to the question that waits for it; tells whether one does.

        Raises:
            BadFrame: its numbers are wrong.
        """
        return False

    async def run(self, _connection: Connection) -> None:
        """Send what is to be sent, until cancelled or the connection ends."""

    def ended(self, *, told: bool) -> None:
        """The connection was read to its end.

        Args:
            told: whether it ended by itself; otherwise the manager closes.
        """


Answers = Callable[[Message], bool]
LineMaker = Callable[[], Line]
