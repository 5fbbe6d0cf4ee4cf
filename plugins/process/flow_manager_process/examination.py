"""What the doctor asks of the process backend's folders."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from flow_manager_core.findings import (
    Check,
    Finding,
    NotExamined,
    Scene,
    blocking,
    error,
    fine,
    warning,
)
from flow_manager_core.providers import ProviderContext
from flow_manager_process.onlooker import base_of
from flow_manager_process.store import Store, remove_tree

#: Seconds since the last change in which scrap may belong to a call that is under way.
YOUNG = 60.0


def folders(context: ProviderContext, _scene: Scene) -> Sequence[Finding]:
    """Find folders that cannot be used, cannot be read, or were left over."""
    store = Store(base_of(context), context.core.instance, context.log)
    try:
        there = store.root.exists()
    except OSError as problem:  # the check of the state folder tells of it
        raise NotExamined(f"{problem.filename}: {problem.strerror}") from None
    if there and not os.access(store.root, os.R_OK | os.W_OK | os.X_OK):
        told = f"{store.root} cannot be used: it belongs to another user"
        return [error(told, "Verify permissions, or run as the user that runs the service")]
    unreadable = [_unreadable(folder) for folder in store.unreadable()]
    left = [_left_over(scrap) for scrap in store.scraps() if _is_old(scrap)]
    return [*unreadable, *left] or [fine(str(store.root))]


def _is_old(scrap: Path) -> bool:
    try:
        return time.time() - os.lstat(scrap).st_mtime > YOUNG
    except FileNotFoundError:
        return False


def _unreadable(folder: Path) -> Finding:
    told = f"The folder {folder} of a container cannot be read, so the container is not there"
    remedy = "Verify permissions; if its container.json is damaged, move the folder away"
    return warning(told, remedy, details={"folder": str(folder)})


def _left_over(scrap: Path) -> Finding:
    return warning(
        f"A folder is left over from a container: {scrap}",
        "Clean it up: flow-manager doctor --fix, or restart the service",
        details={"folder": str(scrap)},
        fix=partial(_clean_up, scrap),
    )


def _clean_up(scrap: Path) -> str:
    if not _is_old(scrap):
        return f"{scrap} is gone, or in use again: left alone"
    remove_tree(scrap)
    return f"removed {scrap}"


CHECKS = (
    Check(
        name="process-folders",
        asks="can the containers' folders be read, and is none left over",
        look=blocking(folders),
    ),
)
