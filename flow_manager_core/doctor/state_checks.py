"""Checks of what the manager keeps between its lives, and of the clock that dates it. All block."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import flow_manager_core
from flow_manager_core.doctor.study import Study
from flow_manager_core.findings import Finding, NotExamined, Scene, error, fine, warning
from flow_manager_core.sqlite.file import FORMER, NAME, UNREADABLE, look_back

PERMISSIONS = "Verify permissions of the state folder, or run as the user that runs the service"
#: Seconds by which two readings of one clock may differ.
SLACK = 5.0


def state_folder(study: Study, _scene: Scene) -> Sequence[Finding]:
    """Whether the folder is there and ours to write, or can be made."""
    root = study.configuration.settings.state_dir
    for folder in (root, study.folder.parent, study.folder):
        try:
            amiss = _unusable(folder)
        except OSError as problem:
            amiss = f"{folder} cannot be used: {problem.strerror}"
        if amiss:
            return [error(amiss, PERMISSIONS, details={"folder": str(folder)})]
    return [fine(str(root) if root.exists() else f"{root} will be made at the first start")]


def _unusable(folder: Path) -> str:
    there = nearest(folder)
    if not there.is_dir():
        return f"{there} is no folder"
    if not os.access(there, os.W_OK | os.X_OK):
        whose = f"belongs to the user with the id {there.stat().st_uid}"
        return f"{there} cannot be written: it {whose}, or its disk is read-only"
    return ""


def nearest(path: Path) -> Path:
    """The path itself, or what is there of it."""
    return next((one for one in (path, *path.parents) if os.path.lexists(one)), Path("/"))


def journal(study: Study, _scene: Scene) -> Sequence[Finding]:
    """Whether the journal's file can be read; a start is refused where it cannot."""
    chosen = study.picked.journal
    if chosen is None or chosen.name != "sqlite":
        return [fine("kept in memory alone" if chosen and not chosen.lasting else "none of ours")]
    path = study.folder / NAME
    try:
        past = look_back(study.folder)
    except FileNotFoundError:
        return [fine("none yet")]
    except NotADirectoryError:
        raise NotExamined("the state folder cannot be used") from None
    except PermissionError:
        if not os.access(path.parent, os.X_OK):
            raise NotExamined("the state folder cannot be used") from None
        return [error(f"The journal in {path} cannot be read: permission denied", PERMISSIONS)]
    except UNREADABLE as problem:
        remedy = (
            "flow-manager journal rebuild moves the file away and keeps what can be read of it:"
            " containers are found again by their labels; what is lost is what had not been"
            " finished, and messages on their way"
        )
        return [error(f"The journal in {path} cannot be read ({problem})", remedy)]
    return [fine(f"of {len(past.desired)} containers, in {path}")]


def clock(study: Study, _scene: Scene) -> Sequence[Finding]:
    """Whether what was written down comes before now."""
    now = time.time()
    for what, at in _marks(study):
        if at > now + SLACK:
            told = (
                f"This host's clock is behind: it says {_utc(now)}, and {what} is of {_utc(at)},"
                f" {at - now:.0f} seconds later"
            )
            remedy = "Set the clock, and keep it right by NTP (timedatectl set-ntp true)"
            return [warning(told, remedy, details={"ahead": round(at - now, 1)})]
    return [fine(_utc(now))]


def _marks(study: Study) -> Iterator[tuple[str, float]]:
    """What is dated, and when."""
    ours = [study.folder / name for name in (NAME, FORMER)]
    for path in (Path(str(flow_manager_core.__file__)), *ours):
        try:
            yield str(path), path.stat().st_mtime
        except OSError:  # it is not there, or told of by the check of the state folder
            continue
    for desired in study.past.desired.values() if study.past else ():
        yield from ((f"the end of a run of {desired.name}", end) for end in desired.ends[-1:])


def _utc(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"
