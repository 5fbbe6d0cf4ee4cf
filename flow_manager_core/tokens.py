"""The files that hold tokens; and the manager's own, made at the first start and kept."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path

import attrs
from attrs import frozen

from flow_manager_core.errors import ConfigurationError
from flow_manager_core.models import Fault
from flow_manager_core.settings import Settings

#: Bytes of a made token: 256 bits.
SIZE = 32
#: Bytes of a token's file; a made one has 44, a JSON Web Token of some size about 2000.
LARGEST = 4096


@frozen
class TokenFile:
    """What a file holds.

    Args:
        private: whether its owner alone can read it.
    """

    token: str = attrs.field(repr=False)
    private: bool


def with_token(settings: Settings) -> Settings:
    """Return the settings with the token that is in force; without one for ``no_auth``.

    Raises:
        ConfigurationError: a file cannot be used.
    """
    found = with_known_token(settings)
    if found.token or found.no_auth:
        return found
    return attrs.evolve(settings, token=_kept(token_path(settings)))


def with_known_token(settings: Settings) -> Settings:
    """Return the settings with the token in force as far as there is one yet; makes nothing.

    Raises:
        ConfigurationError: a file cannot be used.
    """
    if settings.no_auth or settings.token:
        return settings
    if settings.token_file:
        token = read_token(Path(settings.token_file), "token_file").token
    elif os.path.lexists(token_path(settings)):
        token = _own(token_path(settings))
    else:
        return settings
    return attrs.evolve(settings, token=token)


def token_path(settings: Settings) -> Path:
    """Where a made token is kept."""
    return settings.state_dir / "token"


def _kept(path: Path) -> str:
    """Make the token and read it: written aside and linked, so that it is whole or not there."""
    aside = path.with_name(f"token.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
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
    return _own(path)


def _own(path: Path) -> str:
    """Read the made token; nobody else is to know it, nor to say by a link which one it is."""
    found = read_token(path, "state_dir", os.O_NOFOLLOW)
    if not found.private:
        told = f"{path} can be read by others: chmod 600 it"
        raise ConfigurationError([Fault("state_dir", told)])
    return found.token


def read_token(path: Path, setting: str, flags: int = 0) -> TokenFile:
    """Read a token's file; white space around the token does not belong to it.

    Args:
        setting: what a fault names.
        flags: for opening it, besides those of reading.

    Raises:
        ConfigurationError: it cannot be read, is no regular file, is too large, holds no token.
    """
    try:
        # Without O_NONBLOCK, opening a pipe would wait for somebody to write.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | flags)
        try:
            mode = os.fstat(descriptor).st_mode
            content = os.read(descriptor, LARGEST + 1) if stat.S_ISREG(mode) else b""
        finally:
            os.close(descriptor)
    except OSError as error:
        raise ConfigurationError(
            [Fault(setting, f"{path} cannot be read: {error.strerror}")]
        ) from None
    wrong, token = _token_in(content, mode)
    if wrong:
        raise ConfigurationError([Fault(setting, f"{path} {wrong}")])
    return TokenFile(token, private=stat.S_IMODE(mode) & 0o077 == 0)


def _token_in(content: bytes, mode: int) -> tuple[str, str]:
    """What is wrong with a file, and else its token."""
    if not stat.S_ISREG(mode):
        return "is no regular file", ""
    if len(content) > LARGEST:
        return f"holds more than {LARGEST} bytes", ""
    try:
        token = content.decode().strip()
    except UnicodeDecodeError:
        return "cannot be read: it is not UTF-8", ""
    return ("", token) if token else ("holds no token", "")
