"""What can go wrong, by name."""

from __future__ import annotations


class FlowError(Exception):
    """Any failure of this package."""


class NoSocket(FlowError):
    """The environment names no socket: the program was not started by a flow manager."""


class NotConnected(FlowError):
    """There is no connection to the manager, or it ended."""


class SpoolFault(FlowError):
    """The file for what must outlive the process cannot be used."""


class BadFrame(FlowError):
    """Bytes that are no message, or a message that cannot be sent."""
