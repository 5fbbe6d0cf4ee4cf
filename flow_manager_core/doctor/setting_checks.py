"""Checks of what a service would start from. All block."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from flow_manager_core.doctor.study import Study
from flow_manager_core.errors import ConfigurationError
from flow_manager_core.findings import Finding, Scene, error, fine, warning
from flow_manager_core.logs import OFF, log_path
from flow_manager_core.settings import AUTO
from flow_manager_core.tokens import token_path

CORRECT = ConfigurationError.default_hint


def settings(study: Study, _scene: Scene) -> Sequence[Finding]:
    """What ``serve`` would be refused for, and what it would note."""
    found = study.configuration
    # Of that file the check of the token tells.
    kept = str(token_path(found.settings))
    told = {(fault.field, fault.message) for fault in found.setting_faults}
    faults = sorted((name, message) for name, message in told if not message.startswith(kept))
    errors = [error(f"{name}: {why}", CORRECT, details={"field": name}) for name, why in faults]
    remedy = "Correct the name, or take it away"
    notes = [warning(f"Something that is set is not used: {note}", remedy) for note in found.notes]
    return [*errors, *notes] or [fine(f"all {len(found.rows)} settings can be")]


def plugins(study: Study, _scene: Scene) -> Sequence[Finding]:
    """What is chosen and not there, and what is broken."""
    found = study.configuration
    faults = {(f.field, f.message) for f in (*found.choice_faults, *study.picked.faults)}
    remedy = "Install what is missing, repair or unblock the plugin, or choose another"
    errors = [error(told, remedy, details={"field": name}) for name, told in sorted(faults)]
    blamed = " ".join(message for _, message in faults)
    broken = [info for info in found.host.broken if info.told not in blamed]
    repair = "Repair or uninstall its distribution, or leave it out with --block"
    warnings = [warning(f"A plugin is broken: {info.told}", repair) for info in broken]
    chosen = ", ".join(provider.name for provider in study.providers)
    return [*errors, *warnings] or [fine(f"chosen and there: {chosen}")]


def token(study: Study, _scene: Scene) -> Sequence[Finding]:
    """The token that the manager keeps itself; a file that was named is one of the settings."""
    given = study.configuration.settings
    if given.no_auth or given.token or given.token_file:
        return [fine("none is asked for" if given.no_auth else "it is set")]
    path = token_path(given)
    if not os.path.lexists(path):
        return [fine("made at the first start")]
    amiss = _token_amiss(path)
    return [error(*amiss)] if amiss else [fine(f"kept in {path}")]


def _token_amiss(path: Path) -> tuple[str, str] | None:
    """What is wrong with the token's file, and what to do; a start is refused for each."""
    try:
        mode = path.lstat().st_mode
    except OSError as problem:
        return f"{path} cannot be read: {problem.strerror}", "Verify permissions"
    if not stat.S_ISREG(mode):
        return f"{path} is no file", "Remove it: the next start makes a new token"
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        return f"{path} can be read by others", f"Verify permissions: chmod 600 {path}"
    if not os.access(path, os.R_OK):
        told = f"{path} cannot be read: permission denied"
        return told, "Verify permissions: run as the user that runs the service"
    return None


def log_file(study: Study, _scene: Scene) -> Sequence[Finding]:
    """Where the guide looks first: ``tail -f flow-manager.log``."""
    given = study.configuration.settings
    path = log_path(given)
    if path is None:
        told = "off" if given.log_file == OFF else "standard error alone: this folder is read-only"
        return [fine(told)]
    target = path if path.exists() else path.parent
    if path.is_dir() or not os.access(target, os.W_OK):
        told = f"The log file {path.absolute()} cannot be written"
        remedy = "Verify permissions, or set log_file to another path, or to off"
        # The default falls back to standard error only where the folder cannot be written.
        return [error(told, remedy)]
    return [fine(f"{path.absolute()}{' (auto)' if given.log_file == AUTO else ''}")]


def volume_roots(study: Study, _scene: Scene) -> Sequence[Finding]:
    """The folders that ``volumes`` and ``code_path`` may point into."""
    roots = study.configuration.settings.volume_roots
    amiss = [finding for root in roots if (finding := _root(root))]
    return amiss or [fine(", ".join(map(str, roots)))]


def _root(root: Path) -> Finding | None:
    remedy = "Verify that the code path exists, check permissions on it, or set volume_roots"
    if not root.is_dir():
        return warning(f"The folder {root} of volume_roots does not exist", remedy)
    if not os.access(root, os.R_OK | os.X_OK):
        return warning(f"The folder {root} of volume_roots cannot be read", remedy)
    return None
