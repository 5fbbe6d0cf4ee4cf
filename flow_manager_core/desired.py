"""What a container is meant to be: recorded before the engine is asked, compared with it after."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from attrs import field, fields, frozen

from flow_manager_core.models import Container


class Wish(StrEnum):
    """What somebody last wanted of a container."""

    UP = "up"
    DOWN = "down"
    GONE = "gone"


class Job(StrEnum):
    """An operation of several steps that is under way, or was when the manager died."""

    NONE = ""
    CREATE = "create"
    UPDATE = "update"
    BACKUP = "backup"
    #: A restore lays what its container will stand on; the container was not asked for yet.
    GROUND = "ground"
    RESTORE = "restore"


#: Jobs whose container was asked for, and is not yet what it is to be.
MAKING = frozenset({Job.CREATE, Job.RESTORE})
#: Jobs that neither begin nor end a run.
WATCHING = frozenset({Job.NONE, Job.BACKUP})


@frozen(kw_only=True)
class Desired:
    """One container's desired state, with what a later life must know of its runs.

    Runs are named by their start.

    Args:
        key: the container's birth mark (`Terms.birth`), else its id.
        container_id: empty while the engine has not made it.
        wish: ``UP`` lasts until somebody stops it, or a run ends that recovery leaves ended.
        code_path: where a create takes the code from.
        start: whether a create is to start it.
        archive: the backup that is being written.
        frozen: whether its program was halted for that.
        asked_run: the run that the manager asked to end.
        ended_run: the latest run whose end was told.
        ended_asked: whether that one was asked to end, by whomever.
        restarts: by recovery, so far.
        uptimes: seconds that the latest runs lasted, oldest first.
        ends: when they ended, seconds since the epoch.
        code_of: the request whose update gave it its code, as `trace.request_key` names it.
        health_check: the check that was chosen for it since its creation, as JSON.
    """

    key: str
    name: str
    container_id: str = ""
    wish: Wish = Wish.DOWN
    job: Job = Job.NONE
    code_path: str | None = None
    start: bool = False
    archive: str | None = None
    frozen: bool = False
    asked_run: datetime | None = None
    ended_run: datetime | None = None
    ended_asked: bool = False
    restarts: int = 0
    uptimes: tuple[float, ...] = ()
    ends: tuple[float, ...] = ()
    code_of: str = ""
    health_check: Mapping[str, Any] | None = field(default=None, hash=False)

    def to_json(self) -> dict[str, Any]:
        """As it is kept: times as text."""
        return {each.name: _plain(getattr(self, each.name)) for each in fields(Desired)}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Desired:
        """Read what `to_json` wrote; fields of a later version are left out.

        Raises:
            ValueError, TypeError, KeyError: it is no such object.
        """
        known = {each.name: body[each.name] for each in fields(cls) if each.name in body}
        known["wish"], known["job"] = Wish(known["wish"]), Job(known["job"])
        for name in ("asked_run", "ended_run"):
            known[name] = datetime.fromisoformat(known[name]) if known.get(name) else None
        for name in ("uptimes", "ends"):
            known[name] = tuple(float(number) for number in known.get(name, ()))
        return cls(**known)


class Need(StrEnum):
    """What is to be done to make a container what it is meant to be."""

    NOTHING = "nothing"
    FINISH_CREATE = "finish its creation"
    FINISH_STOP = "stop"
    FINISH_DELETE = "delete"
    UNDO_UPDATE = "undo an update that was interrupted"
    END_BACKUP = "end a backup that was interrupted"
    UNDO_RESTORE = "undo a restore that was interrupted"
    START = "start"
    RECOVER = "restart"


_UNFINISHED = {
    Job.CREATE: Need.FINISH_CREATE,
    Job.UPDATE: Need.UNDO_UPDATE,
    Job.BACKUP: Need.END_BACKUP,
    Job.GROUND: Need.UNDO_RESTORE,
    Job.RESTORE: Need.UNDO_RESTORE,
}


def need(desired: Desired, seen: Container) -> Need:
    """Compare; pure. An end that nobody has judged yet needs nothing but to be looked at."""
    if desired.wish is Wish.GONE:
        return Need.FINISH_DELETE
    if desired.job in _UNFINISHED:
        return _UNFINISHED[desired.job]
    if seen.state.alive:
        stopping = desired.wish is Wish.DOWN and seen.started_at == desired.asked_run
        return Need.FINISH_STOP if stopping else Need.NOTHING
    return _need_of_ended(desired, seen) if desired.wish is Wish.UP else Need.NOTHING


def _need_of_ended(desired: Desired, seen: Container) -> Need:
    if seen.started_at is None or seen.started_at == desired.asked_run:
        return Need.START
    return Need.RECOVER if seen.started_at == desired.ended_run else Need.NOTHING


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value
