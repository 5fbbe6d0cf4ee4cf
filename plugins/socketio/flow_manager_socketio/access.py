"""Who is let in: the token, and whether it is safe to do without one."""

from __future__ import annotations

import hmac
from ipaddress import ip_address

import anyio.to_thread

from flow_manager_core.errors import ConfigurationError, InvalidRequest
from flow_manager_core.models import Fault
from flow_manager_core.settings import Settings
from flow_manager_core.structuring import describe
from flow_manager_core.tokens import with_token

_EVENTS_LIMIT = 100


def is_loopback(host: str) -> bool:
    """Whether a name or address can only mean this machine."""
    name = host.strip("[]").partition("%")[0].lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ip_address(name)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return address.is_loopback or (mapped is not None and mapped.is_loopback)


async def with_token_file(core: Settings) -> Settings:
    """The settings with the token that `token_file` holds, where that is what was set.

    ``serve`` has done so already; a host that carries the manager inside has not.

    Raises:
        ConfigurationError: the file cannot be used.
    """
    if core.token or not core.token_file:
        return core
    return await anyio.to_thread.run_sync(with_token, core)


class Access:
    """Checks what a client presents.

    Raises:
        ConfigurationError: the settings would let anyone in from anywhere, or no one at all.
    """

    def __init__(self, core: Settings) -> None:
        if core.no_auth and not is_loopback(core.host):
            told = f"is accepted on a loopback address alone, not on {core.host or 'all addresses'}"
            raise ConfigurationError([Fault("no_auth", told)])
        if not core.token and not core.no_auth:
            told = "is empty: set it or token_file, or no_auth on a loopback address"
            raise ConfigurationError([Fault("token", told)])
        self.open: bool = core.no_auth
        self._token = core.token.encode()

    def admit(self, auth: object) -> frozenset[str] | None:
        """Check a client's ``auth`` object.

        Returns:
            The server events it wants, ``None`` for all.

        Raises:
            InvalidRequest: it is refused, with everything that is wrong.
        """
        found = {} if auth is None else auth
        if not isinstance(found, dict):
            raise _refusal(Fault("auth", f"must be an object, not {describe(auth)}"))
        faults = [*self._token_faults(found), *_event_faults(found.get("events"))]
        if faults:
            raise _refusal(*faults)
        events = found.get("events")
        return None if events is None else frozenset(events)

    def _token_faults(self, auth: dict[str, object]) -> list[Fault]:
        if self.open:
            return []
        token = auth.get("token")
        if token is None:
            return [Fault("auth.token", "is missing")]
        if not isinstance(token, str):
            return [Fault("auth.token", f"must be a string, not {describe(token)}")]
        if not hmac.compare_digest(token.encode(errors="replace"), self._token):
            return [Fault("auth.token", "is wrong")]
        return []


def _event_faults(events: object) -> list[Fault]:
    if events is None:
        return []
    if not isinstance(events, list) or not all(isinstance(name, str) for name in events):
        return [Fault("auth.events", "must be a list of event names")]
    if len(events) > _EVENTS_LIMIT:
        return [Fault("auth.events", f"must have at most {_EVENTS_LIMIT} names")]
    return []


def _refusal(*faults: Fault) -> InvalidRequest:
    hint = "Pass auth: {token} with the token that the service was started with"
    return InvalidRequest(faults, operation="connect", hint=hint)
