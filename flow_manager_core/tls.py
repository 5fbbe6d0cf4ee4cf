"""The certificate that frontends show: both files or none, and what is wrong with them."""

from __future__ import annotations

import ssl
import stat
from pathlib import Path

from flow_manager_core.errors import ConfigurationError
from flow_manager_core.models import Fault
from flow_manager_core.settings import Settings

CERTIFICATE, KEY = "tls_certificate", "tls_key"


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """Make what a server needs to speak TLS 1.2 or later; ``None`` where no certificate is set.

    Reads both files, each time anew.

    Raises:
        ConfigurationError: a file is missing, cannot be read or is not what it should be.
    """
    if not settings.tls_certificate and not settings.tls_key:
        return None
    faults = [fault for name in (CERTIFICATE, KEY) for fault in _file_faults(settings, name)]
    if faults:
        raise ConfigurationError(faults)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load(context, settings.tls_certificate, settings.tls_key)
    return context


def tls_faults(settings: Settings) -> list[Fault]:
    """Say why the certificate that is set cannot be used; one of two that is missing is not told.

    `settings_check` tells that.
    """
    if not settings.tls_certificate or not settings.tls_key:
        return []
    try:
        tls_context(settings)
    except ConfigurationError as error:
        return list(error.faults)
    return []


def key_is_exposed(settings: Settings) -> bool:
    """Whether others than its owner can read the key's file."""
    mode = Path(settings.tls_key).stat().st_mode
    return bool(stat.S_IMODE(mode) & (stat.S_IRGRP | stat.S_IROTH))


def _file_faults(settings: Settings, name: str) -> list[Fault]:
    path = getattr(settings, name)
    if not path:
        return [Fault(name, "is missing: a certificate and a key need each other")]
    try:
        Path(path).read_bytes()
    except OSError as error:
        return [Fault(name, f"{path} cannot be read: {error.strerror}")]
    return []


def _load(context: ssl.SSLContext, certificate: str, key: str) -> None:
    try:
        # Of a chain that cannot be loaded, OpenSSL does not say which of the files is at fault.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(certificate)
    except ssl.SSLError:
        told = f"{certificate} holds no certificate in PEM form"
        raise ConfigurationError([Fault(CERTIFICATE, told)]) from None
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except _Encrypted:
        told = f"{key} is encrypted: a service has nobody to ask for the password"
        raise ConfigurationError([Fault(KEY, told)]) from None
    except ssl.SSLError as error:
        raise ConfigurationError([_fault_of(error, certificate, key)]) from None


def _fault_of(error: ssl.SSLError, certificate: str, key: str) -> Fault:
    if error.reason == "KEY_VALUES_MISMATCH":
        return Fault(KEY, f"{key} does not match the certificate in {certificate}")
    if error.reason in ("EE_KEY_TOO_SMALL", "CA_MD_TOO_WEAK", "CA_KEY_TOO_SMALL"):
        return Fault(CERTIFICATE, f"{certificate} is too weak: {error.reason}")
    return Fault(KEY, f"{key} holds no private key in PEM form")


class _Encrypted(Exception):
    """The key's file asks for a password."""


def _no_password() -> str:
    raise _Encrypted
