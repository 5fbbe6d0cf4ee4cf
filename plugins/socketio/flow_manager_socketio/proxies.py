"""Who is behind a proxy: believed of proxies that the settings name, of nobody else."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from attrs import frozen

from flow_manager_core.models import Fault
from flow_manager_socketio.headers import values
from flow_manager_socketio.line import Scope

#: Headers that only a proxy adds.
_TRACES = (
    *(b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto"),
    *(b"x-forwarded-port", b"x-real-ip", b"via"),
)
_ELEMENT = re.compile(r'\b(for|proto)\s*=\s*(?:"([^"]*)"|([^;,\s]*))', re.IGNORECASE)
_SCHEMES = {"http": "ws", "https": "wss"}
#: Stands for a client whose address a proxy does not tell.
UNKNOWN = "unknown"


@frozen
class Proxies:
    """The proxies that are trusted."""

    networks: tuple[IPv4Network | IPv6Network, ...]

    @classmethod
    def of(cls, names: tuple[str, ...]) -> Proxies:
        """Read addresses and networks.

        Raises:
            ValueError: one is neither.
        """
        return cls(tuple(ip_network(name, strict=False) for name in names))

    def trusts(self, address: str) -> bool:
        """Whether an address is a named proxy's."""
        try:
            found = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(found, "ipv4_mapped", None) or found
        return any(mapped in network or found in network for network in self.networks)

    def is_proxied(self, scope: Scope) -> bool:
        """Whether a request shows that it came through some proxy."""
        return any(values(scope, name) for name in _TRACES)

    def seen_through(self, scope: Scope) -> Scope | Fault:
        """The scope as it would be without the proxies: the client's address and scheme.

        The client is the rightmost address that is no proxy's: what stands left of it, the client
        may have written itself.
        """
        peer = scope.get("client")
        if peer is None or not self.trusts(peer[0]):
            return scope
        told, elements = _list(scope, b"x-forwarded-for"), _elements(scope)
        chains = [chain for chain in (told, elements.get("for", [])) if chain]
        if not chains:
            return scope
        addresses = [self._client_of(chain) for chain in chains]
        if len(set(addresses)) > 1:
            return Fault("Forwarded", "contradicts X-Forwarded-For")
        proto = (_list(scope, b"x-forwarded-proto") or elements.get("proto", []))[-1:]
        return {**scope, "client": (addresses[0], 0), "scheme": _scheme(scope, *proto)}

    def _client_of(self, chain: list[str]) -> str:
        for entry in reversed(chain):
            address = _address(entry)
            if not self.trusts(address):
                return address
        return _address(chain[0])


def _list(scope: Scope, name: bytes) -> list[str]:
    return [part.strip() for value in values(scope, name) for part in value.split(",")]


def _elements(scope: Scope) -> dict[str, list[str]]:
    """What RFC 7239 says of each proxy on the way."""
    found: dict[str, list[str]] = {}
    for value in values(scope, b"forwarded"):
        for name, quoted, plain in _ELEMENT.findall(value):
            found.setdefault(name.lower(), []).append(quoted or plain)
    return found


def _address(entry: str) -> str:
    """An entry's address without its port; `UNKNOWN` for any other identifier."""
    bare = entry.strip('" ')
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        return str(ip_address(bare))
    except ValueError:
        return UNKNOWN


def _scheme(scope: Scope, told: str = "") -> str:
    if told.lower() not in _SCHEMES:
        return str(scope.get("scheme", "http"))
    return _SCHEMES[told.lower()] if scope["type"] == "websocket" else told.lower()
