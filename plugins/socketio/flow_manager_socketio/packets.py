"""Socket.IO's packets as this frontend takes them: text alone, no attachments kept."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from socketio import packet

from flow_manager_socketio import jsontext

_CONTROL_PACKET_LIMIT = 16
#: The type of an Engine.IO packet that carries one of Socket.IO.
MESSAGE = "4"
_CONTROLS = frozenset("12356")
_SOCKETIO_TYPES = frozenset("0123456")
_EVENTS = (packet.EVENT, packet.BINARY_EVENT)
_WITH_LIST = (*_EVENTS, packet.ACK, packet.BINARY_ACK)
_FROM_CLIENTS = (*_WITH_LIST, packet.CONNECT, packet.DISCONNECT)


class MalformedPacket(Exception):
    """What a client sent cannot be read."""


class Attachment:
    """Stands in for the arguments of a request that came with binary attachments."""


class TextPacket(packet.Packet):  # type: ignore[misc]  # python-socketio has no types
    """A packet without binary parts.

    `json` belongs to this class, not to python-socketio's: its ``json=`` option would change the
    JSON of every other server and client in the process.
    """

    packet_type: int
    data: Any
    uses_binary_events = False
    json: SimpleNamespace = SimpleNamespace(dumps=jsontext.dumps, loads=jsontext.loads)

    def decode(self, encoded_packet: str) -> int:
        """Read a packet; attachments it announces are not waited for.

        Raises:
            MalformedPacket: it is none, or none that a client may send.
        """
        try:
            if not isinstance(encoded_packet, str):
                raise ValueError("it is not text")
            super().decode(encoded_packet)
            self._check()
            self._drop_attachments()
        except (ValueError, LookupError, RecursionError) as error:
            raise MalformedPacket(str(error)[:200]) from None
        return 0

    def _check(self) -> None:
        if self.packet_type not in _FROM_CLIENTS:
            raise ValueError(f"its type is {self.packet_type}")
        if self.packet_type in _WITH_LIST and not isinstance(self.data, list):
            raise ValueError("its data is no list")
        if self.packet_type in _EVENTS and not self.data:
            raise ValueError("it names no event")

    def _drop_attachments(self) -> None:
        if self.packet_type == packet.BINARY_EVENT:
            self.packet_type = packet.EVENT
            self.data = [self.data[0], Attachment()]
        elif self.packet_type == packet.BINARY_ACK:
            self.packet_type = packet.ACK


def well_formed(text: str) -> bool:
    """Whether a text is an Engine.IO packet of a client, as far as its head tells.

    python-engineio parses what follows the type as JSON before anyone can catch its failure; a
    packet that passes here does not get that far.
    """
    if text[:1] == MESSAGE:
        return text[1:2] in _SOCKETIO_TYPES
    return text[:1] in _CONTROLS and len(text) <= _CONTROL_PACKET_LIMIT
