"""Which hosts a request may name: what stands against DNS rebinding.

A page whose own name was made to point at this machine reaches us with that name in ``Host``. A
literal address, a loopback name and this machine's own name are not what an attacker's page has.
"""

from __future__ import annotations

import re
import socket
from ipaddress import ip_address

from attrs import frozen

from flow_manager_core.models import Fault
from flow_manager_core.settings import Settings
from flow_manager_socketio.access import is_loopback
from flow_manager_socketio.headers import values
from flow_manager_socketio.line import Scope
from flow_manager_socketio.settings import SocketIOSettings

ANY = "*"
#: RFC 3986's host and port, without what no host has: user, path, spaces, more than one of them.
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+(?:%25?[\w.-]+)?\]|[\w.~-]+)(?::\d{0,5})?", re.ASCII)


@frozen
class HostRule:
    """Names that ``Host`` may have besides loopback ones.

    Args:
        names: ``None``: any.
        addresses: whether any literal address will do.
    """

    names: frozenset[str] | None
    addresses: bool

    @classmethod
    def of(cls, core: Settings, settings: SocketIOSettings) -> HostRule:
        """Derive the rule from the settings."""
        given = {_plain(name) for name in settings.allowed_hosts}
        if ANY in given:
            return cls(None, True)
        own = set() if given else {_plain(socket.gethostname())}
        return cls(frozenset({*given, *own, _plain(core.host)} - {""}), not given)

    def fault(self, scope: Scope) -> tuple[int, Fault] | None:
        """Say with which status a request is refused, and why; ``None`` when it is not."""
        if not scope["path"].startswith("/"):
            return 400, Fault("target", "must be a path")
        hosts = values(scope, b"host")
        if len(hosts) != 1:
            return 400, Fault("Host", f"must be there once, not {len(hosts)} times")
        found = _HOST.fullmatch(hosts[0])
        if found is None:
            return 400, Fault("Host", f"{hosts[0][:200]!r} is not a host")
        if not self._allows(_plain(found[1].strip("[]"))):
            return 403, Fault("Host", f"{hosts[0][:200]!r} is not an allowed host")
        return None

    def _allows(self, name: str) -> bool:
        if self.names is None or is_loopback(name) or name in self.names:
            return True
        return self.addresses and _is_address(name)


def _plain(name: str) -> str:
    return name.strip().strip("[]").lower().rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True
