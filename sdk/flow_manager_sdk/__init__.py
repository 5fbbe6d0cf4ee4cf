"""The flow's side of a Flow Manager channel. Standard library only."""

from __future__ import annotations

from flow_manager_sdk.address import socket_path
from flow_manager_sdk.channel import Channel
from flow_manager_sdk.errors import BadFrame, FlowError, NoSocket, NotConnected, SpoolFault
from flow_manager_sdk.flow import Flow
from flow_manager_sdk.frames import Message

__all__ = [
    "BadFrame",
    "Channel",
    "Flow",
    "FlowError",
    "Message",
    "NoSocket",
    "NotConnected",
    "SpoolFault",
    "socket_path",
]
__version__ = "0.1.0"
