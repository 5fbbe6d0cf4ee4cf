"""Where the service is and which token it takes, found as ``serve`` would choose them."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

import attrs
from attrs import field, frozen

from flow_manager_core.errors import ConfigurationError
from flow_manager_core.models import Fault
from flow_manager_core.settings import Settings
from flow_manager_core.settings_check import is_loopback
from flow_manager_core.sources import Sources
from flow_manager_core.tokens import read_token, token_path, with_known_token

#: The settings that say where the service is and who gets in; faults of others do not matter.
USED = {"host", "port", "token", "token_file", "no_auth", "state_dir"}
#: Where a service that listens on all addresses is found on this machine.
EVERYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # not bound here


@frozen(kw_only=True)
class Place:
    """A service, and what gets us in.

    Args:
        url: without a path.
        path: where Socket.IO is; a host application may have mounted it anywhere.
        token: empty for a service that asks for none.
        trust: the certificates that are trusted, for ``https``.
    """

    url: str
    path: str
    token: str = field(repr=False)
    trust: ssl.SSLContext | None


def find_place(options: Mapping[str, Any], environ: Mapping[str, str]) -> Place:
    """Find the service.

    Args:
        options: of the command line: ``url`` and ``token_file`` where the settings do not tell
            them, ``ca`` for a file of certificates to trust instead of the system's; and settings.

    Raises:
        ConfigurationError: a setting is wrong, there is no token, a file cannot be read.
    """
    given = dict(options)
    url, token_file, ca = (given.pop(name, None) for name in ("url", "token_file", "ca"))
    settings = _settings(given, environ)
    parts = _address(settings) if url is None else _parsed(url)
    token = _token(settings, token_file, parts.hostname if url is not None else None)
    return Place(
        url=f"{parts.scheme}://{parts.netloc}",
        path=f"{parts.path.rstrip('/')}/socket.io",
        token=token,
        trust=_trust(ca) if parts.scheme == "https" else None,
    )


def _settings(given: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
    sources = Sources.read(given, environ)
    settings = sources.core()
    others = {attribute.name for attribute in attrs.fields(Settings)} - USED
    faults = [f for f in sources.faults if f.field.partition(".")[0] not in others]
    if faults:
        raise ConfigurationError(faults)
    return settings


def _address(settings: Settings) -> SplitResult:
    if not settings.port:
        raise ConfigurationError([Fault("port", "is 0, any free one: name the service by --url")])
    host = EVERYWHERE.get(settings.host, settings.host)
    scheme = "https" if getattr(settings, "tls_certificate", None) else "http"
    return urlsplit(f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.port}")


def _parsed(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = None
    if not good or parts.username is not None or parts.query or parts.fragment:
        raise ConfigurationError([Fault("--url", "must be http:// or https://HOST[:PORT][/PATH]")])
    return parts


def _token(settings: Settings, token_file: str | None, named_host: str | None) -> str:
    """The token; one that a service here has made goes to no other machine by itself."""
    if token_file is not None:
        return read_token(Path(token_file), "--token-file").token
    if settings.no_auth:
        return ""
    set_by_somebody = settings.token or settings.token_file
    if not set_by_somebody and named_host is not None and not is_loopback(named_host):
        told = "none is set, and that of this machine's own service is not sent to another one"
        raise ConfigurationError([Fault("token", told)])
    found = with_known_token(settings).token
    if not found:
        told = f"none is set, and no service has made one in {token_path(settings)}"
        raise ConfigurationError([Fault("token", told)])
    return found


def _trust(ca: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:  # an SSLError is one too
        told = f"{ca} holds no certificates: {error.strerror or error}"
        raise ConfigurationError([Fault("--ca", told)]) from None
