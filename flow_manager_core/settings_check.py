"""What settings must be beyond their types; for files and environments as for embedders."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path

from flow_manager_core.models import Fault
from flow_manager_core.settings import Settings

INSTANCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
#: A frame's length has four bytes, and a frame is held in memory.
LARGEST_FRAME = 256 * 1024 * 1024
#: Seconds; a flow that is busy may take as long to answer.
LEAST_HEARTBEAT = 0.2
POSITIVE = (
    "request_timeout",
    "pull_timeout",
    "message_timeout",
    "reconcile_interval",
    "proof_of_life",
    "reconnect_timeout",
    "shutdown_timeout",
    "monitoring_interval",
    "backup_stall_timeout",
)
#: Seconds; ten years.
LONGEST_AGE = 3650 * 86400
#: Bytes; a client that was away for a moment finds what it missed.
LEAST_LOG = 1024**2
#: Bytes; SQLite's own bound of a file is far beyond.
LARGEST_LOG = 1024**4
#: Samples of one container; some 300 bytes each.
LONGEST_HISTORY = 100_000
AT_LEAST_ONE = (
    "durable_messages",
    "durable_bytes",
    "durable_messages_total",
    "durable_bytes_total",
    "settled_messages",
)


def settings_faults(settings: Settings) -> list[Fault]:
    """Name every setting that cannot be."""
    faults = [
        *_duration_faults(settings),
        *_backup_faults(settings),
        *_journal_faults(settings),
    ]
    if not INSTANCE.fullmatch(settings.instance):
        faults.append(Fault("instance", "must hold 1 to 63 letters, digits, _ . -"))
    if not 0 <= settings.port <= 65535:
        faults.append(Fault("port", "must be from 0 to 65535"))
    if not 1024 <= settings.frame_limit <= LARGEST_FRAME:
        faults.append(Fault("frame_limit", f"must be from 1024 to {LARGEST_FRAME} bytes"))
    if not 1 <= settings.monitoring_history <= LONGEST_HISTORY:
        faults.append(Fault("monitoring_history", f"must be from 1 to {LONGEST_HISTORY}"))
    if settings.code_limit < 1:
        faults.append(Fault("code_limit", "must be at least 1 byte"))
    for name in ("socket_dir", "state_dir"):
        if not getattr(settings, name).is_absolute():
            faults.append(Fault(name, "must be an absolute path"))
    if Path("/") in settings.volume_roots:
        faults.append(Fault("volume_roots", "must not hold /"))
    return [*faults, *_access_faults(settings), *_bound_faults(settings)]


def _access_faults(settings: Settings) -> list[Fault]:
    faults = []
    if settings.no_auth and not is_loopback(settings.host):
        faults.append(Fault("no_auth", "is accepted on loopback alone"))
    if settings.no_auth and (settings.token or settings.token_file or settings.tokens):
        faults.append(Fault("no_auth", "contradicts the token that is set"))
    for name, other in (("tls_key", "tls_certificate"), ("tls_certificate", "tls_key")):
        if getattr(settings, other) and not getattr(settings, name):
            faults.append(Fault(name, f"is missing: {other} is set, and one needs the other"))
    return faults


def _backup_faults(settings: Settings) -> list[Fault]:
    faults = []
    if settings.backup_dir and not Path(settings.backup_dir).is_absolute():
        faults.append(Fault("backup_dir", "must be an absolute path"))
    if settings.backup_limit < 1:
        faults.append(Fault("backup_limit", "must be at least 1 byte"))
    return faults


def _journal_faults(settings: Settings) -> list[Fault]:
    faults = []
    if not 1 <= settings.journal_keep_age <= LONGEST_AGE:
        faults.append(Fault("journal_keep_age", f"must be from 1 to {LONGEST_AGE} seconds"))
    if not LEAST_LOG <= settings.journal_keep_bytes <= LARGEST_LOG:
        told = f"must be from {LEAST_LOG} to {LARGEST_LOG} bytes"
        faults.append(Fault("journal_keep_bytes", told))
    return faults


def _duration_faults(settings: Settings) -> list[Fault]:
    faults = [
        Fault(name, "must be more than 0 and at most 86400 seconds")
        for name in POSITIVE
        if not 0 < getattr(settings, name) <= 86400
    ]
    if not 0 <= settings.retry_for <= 3600:
        faults.append(Fault("retry_for", "must be from 0 to 3600 seconds"))
    if settings.heartbeat_interval and not LEAST_HEARTBEAT <= settings.heartbeat_interval <= 86400:
        told = f"must be 0 (never) or from {LEAST_HEARTBEAT} to 86400 seconds"
        faults.append(Fault("heartbeat_interval", told))
    return faults


def _bound_faults(settings: Settings) -> list[Fault]:
    told = "must be at least 1"
    return [Fault(name, told) for name in AT_LEAST_ONE if getattr(settings, name) < 1]


def is_loopback(host: str) -> bool:
    """Whether a host name or address can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
