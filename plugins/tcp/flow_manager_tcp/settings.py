"""What an operator may set for this transport."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from attrs import Attribute, field, frozen, validators

#: Not of the range that Linux gives outgoing connections (32768 to 60999), which could take it.
PORT = 8420
#: Letters of a name in DNS, and the underscore that container networks allow; its longest.
_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")


def _is_address(text: str) -> bool:
    """Whether it is an IP address; one with a zone is good on one machine alone, and is not."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def _address(_settings: Any, attribute: Attribute[str], value: str) -> None:
    if not _is_address(value):
        raise ValueError(f"{attribute.name!r} must be an IP address without a zone: {value!r}")


def _reachable(_settings: Any, attribute: Attribute[str], value: str) -> None:
    if value and not _is_address(value) and not _HOST_NAME.fullmatch(value):
        raise ValueError(f"{attribute.name!r} must be an IP address or a host name: {value!r}")


@frozen(kw_only=True)
class TcpSettings:
    """Settings of the transport.

    Args:
        host: the IP address to listen on.
        port: the port to listen on; containers keep the one they were made with. 0: any free one,
            chosen once and kept in the state folder.
        advertise: the IP address or host name that flows dial; empty: `host`.
        max_pending: connections that may be without a valid secret at a time, 1 to 4096; one more
            ends the oldest of them.
        auth_timeout: seconds for a connection to give its secret, 0.05 to 60.
        max_connections: connections that one container may hold open at a time, 1 to 1000.

    Raises:
        ValueError: a value is out of its bounds; the text names it.
    """

    host: str = field(default="127.0.0.1", validator=_address)
    port: int = field(default=PORT, validator=[validators.ge(0), validators.le(65535)])
    advertise: str = field(default="", validator=_reachable)
    max_pending: int = field(default=64, validator=[validators.ge(1), validators.le(4096)])
    auth_timeout: float = field(default=5.0, validator=[validators.ge(0.05), validators.le(60)])
    max_connections: int = field(default=8, validator=[validators.ge(1), validators.le(1000)])

    def __attrs_post_init__(self) -> None:
        dialled = self.dialled
        if _is_address(dialled) and ipaddress.ip_address(dialled).is_unspecified:
            raise ValueError(f"'advertise' must be set: flows cannot dial {dialled}")

    @property
    def dialled(self) -> str:
        """The host that flows dial."""
        return self.advertise or self.host

    @property
    def loopback(self) -> bool:
        """Whether only programs in the manager's own network can dial it."""
        if _is_address(self.dialled):
            return ipaddress.ip_address(self.dialled).is_loopback
        return self.dialled == "localhost"

    def url(self, port: int) -> str:
        """What flows dial, as they are told."""
        return f"tcp://{bracketed(self.dialled)}:{port}"


def bracketed(host: str) -> str:
    """A host as it stands before a port."""
    return f"[{host}]" if ":" in host else host
