"""Who is let in: the token, and whether it is safe to do without one."""

from __future__ import annotations

from ipaddress import ip_address

import anyio.to_thread
from attrs import frozen

from flow_manager_core.contracts import Position
from flow_manager_core.errors import ConfigurationError, InvalidRequest
from flow_manager_core.keyring import Holder, Keyring
from flow_manager_core.keys import read_keyring
from flow_manager_core.models import Fault, Role
from flow_manager_core.settings import Settings
from flow_manager_core.structuring import describe

_EVENTS_LIMIT = 100
#: How a client may have its answers: as response event and acknowledgement, or as the latter alone.
BOTH, ACKNOWLEDGED = "both", "ack"
#: As in the request ``subscribe``.
_EPOCH_LIMIT, _SEQ_LIMIT = 64, 2**53
#: Who comes in where no token is asked for.
ANYONE = Holder("anyone", Role.ADMIN)


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


async def open_keyring(core: Settings) -> Keyring:
    """Read the tokens that are in force, in a thread.

    Raises:
        ConfigurationError: a token cannot be used.
    """
    return await anyio.to_thread.run_sync(read_keyring, core)


@frozen
class Admission:
    """A client that is let in.

    Args:
        holder: whose token it presented.
        events: the server events that it wants, ``None`` for all.
        answers: `BOTH`; or `ACKNOWLEDGED`, where it asks for acknowledgements.
        since: after this it wants all of them; ``None``: from now on.
    """

    holder: Holder
    events: frozenset[str] | None
    answers: str = BOTH
    since: Position | None = None


class Access:
    """Checks what a client presents.

    Args:
        keyring: the tokens; left out: read here, which waits for files.

    Raises:
        ConfigurationError: the settings would let anyone in from anywhere, or no one at all.
    """

    def __init__(self, core: Settings, keyring: Keyring | None = None) -> None:
        if core.no_auth and not is_loopback(core.host):
            told = f"is accepted on a loopback address alone, not on {core.host or 'all addresses'}"
            raise ConfigurationError([Fault("no_auth", told)])
        self.open: bool = core.no_auth
        self._keyring = read_keyring(core) if keyring is None else keyring
        if not self._keyring and not core.no_auth:
            told = "is empty: set it, token_file or tokens, or no_auth on a loopback address"
            raise ConfigurationError([Fault("token", told)])

    def admit(self, auth: object) -> Admission:
        """Check a client's ``auth`` object.

        Raises:
            InvalidRequest: it is refused, with everything that is wrong.
        """
        found = {} if auth is None else auth
        if not isinstance(found, dict):
            raise _refusal(Fault("auth", f"must be an object, not {describe(auth)}"))
        holder = self._holder(found.get("token"))
        answers = found.get("answers", BOTH)
        faults = [
            *_event_faults(found.get("events")),
            *_answer_faults(answers),
            *_since_faults(found.get("since")),
        ]
        if isinstance(holder, Fault):
            faults.insert(0, holder)
        if faults or isinstance(holder, Fault):
            raise _refusal(*faults)
        events, since = found.get("events"), found.get("since")
        return Admission(
            holder,
            None if events is None else frozenset(events),
            answers,
            None if since is None else Position(since["epoch"], since["seq"]),
        )

    def _holder(self, token: object) -> Holder | Fault:
        if self.open:
            return ANYONE
        if token is None:
            return Fault("auth.token", "is missing")
        if not isinstance(token, str):
            return Fault("auth.token", f"must be a string, not {describe(token)}")
        return self._keyring.holder(token) or Fault("auth.token", "is wrong")


def _event_faults(events: object) -> list[Fault]:
    if events is None:
        return []
    if not isinstance(events, list) or not all(isinstance(name, str) for name in events):
        return [Fault("auth.events", "must be a list of event names")]
    if len(events) > _EVENTS_LIMIT:
        return [Fault("auth.events", f"must have at most {_EVENTS_LIMIT} names")]
    return []


def _answer_faults(answers: object) -> list[Fault]:
    if answers in (BOTH, ACKNOWLEDGED):
        return []
    return [Fault("auth.answers", f"must be {BOTH} or {ACKNOWLEDGED}")]


def _since_faults(since: object) -> list[Fault]:
    if since is None:
        return []
    if not isinstance(since, dict) or since.keys() != {"epoch", "seq"}:
        return [Fault("auth.since", "must be an object with epoch and seq")]
    epoch, seq = since["epoch"], since["seq"]
    faults = []
    if not isinstance(epoch, str) or not 0 < len(epoch) <= _EPOCH_LIMIT:
        faults.append(
            Fault("auth.since.epoch", f"must be a text of 1 to {_EPOCH_LIMIT} characters")
        )
    if type(seq) is not int or not 0 <= seq <= _SEQ_LIMIT:
        faults.append(Fault("auth.since.seq", "must be a whole number from 0 on"))
    return faults


def _refusal(*faults: Fault) -> InvalidRequest:
    hint = "Pass auth: {token} with a token of the service"
    return InvalidRequest(faults, operation="connect", hint=hint)
