"""The token that clients present: given, read from a file, or made at the first start and kept."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path

import attrs

from flow_manager_core.errors import ConfigurationError
from flow_manager_core.models import Fault
from flow_manager_core.settings import Settings

#: Bytes of a made token: 256 bits.
SIZE = 32


def with_token(settings: Settings) -> Settings:
    """Return the settings with the token that is in force; without one for ``no_auth``.

    Raises:
        ConfigurationError: a file cannot be used.
    """
    if settings.no_auth or settings.token:
        return settings
    if settings.token_file:
        return attrs.evolve(settings, token=_read(Path(settings.token_file), "token_file"))
    return attrs.evolve(settings, token=_kept(token_path(settings)))


def token_file_faults(settings: Settings) -> list[Fault]:
    """Say why the file that is to hold the token cannot be used; makes nothing."""
    if settings.no_auth or settings.token or not settings.token_file:
        return []
    try:
        _read(Path(settings.token_file), "token_file")
    except ConfigurationError as error:
        return list(error.faults)
    return []


def token_path(settings: Settings) -> Path:
    """Where a made token is kept."""
    return settings.state_dir / "token"


def _kept(path: Path) -> str:
    """Read the token, or make it: written aside and linked, so that it is whole or not there."""
    aside = path.with_name(f"token.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not os.path.lexists(path):
            descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_urlsafe(SIZE) + "\n")
            with contextlib.suppress(FileExistsError):  # another start was faster
                os.link(aside, path)
            aside.unlink()
    except OSError as error:
        raise ConfigurationError(
            [Fault("state_dir", f"no token can be kept in {path}: {error.strerror}")]
        ) from None
    return _read(path, "state_dir")


def _read(path: Path, setting: str) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | (os.O_NOFOLLOW if setting == "state_dir" else 0))
        with os.fdopen(descriptor) as file:
            private = stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077 == 0
            token = file.read(4096).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError([Fault(setting, f"{path} cannot be read: {error}")]) from None
    if not token:
        raise ConfigurationError([Fault(setting, f"{path} holds no token")])
    if setting == "state_dir" and not private:
        raise ConfigurationError([Fault(setting, f"{path} can be read by others: chmod 600 it")])
    return token
