"""What must be there before flows can dial: the folder, its secrets, and the port."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from flow_manager_core.errors import ConfigurationError
from flow_manager_core.models import Fault
from flow_manager_core.settings import Settings
from flow_manager_tcp.private_files import PrivateFiles, Unsafe
from flow_manager_tcp.settings import TcpSettings, bracketed
from flow_manager_tcp.vault import Vault

FOLDER = "tcp"
#: The file that keeps a port which was not chosen by the operator.
PORT_FILE = "port"
#: Connections that may wait to be accepted: Linux's own default for long.
BACKLOG = 128


@frozen
class Place:
    """What one life of the transport stands on.

    Args:
        vault: has learned the secrets of earlier lives.
        listener: listens; its owner closes it.
        port: where.
        wrong: what is wrong with files that were left alone.
    """

    vault: Vault
    listener: socket.socket
    port: int
    wrong: tuple[str, ...]


def prepare(core: Settings, settings: TcpSettings) -> Place:
    """Make the folder, learn the secrets, and listen. Blocking: call it in a worker thread.

    Raises:
        ConfigurationError: the folder or the port cannot be used.
    """
    files = PrivateFiles(folder_of(core))
    vault = Vault(files)
    with _as_fault():
        files.prepare()
        wrong = vault.load()
        kept = _kept_port(files) if settings.port == 0 else None
    listener = _listen(settings.host, kept or settings.port)
    try:
        port = listener.getsockname()[1]
        if settings.port == 0 and kept is None:
            with _as_fault():
                files.write(PORT_FILE, str(port))
    except BaseException:
        listener.close()
        raise
    return Place(vault, listener, port, tuple(wrong))


def folder_of(core: Settings) -> Path:
    """Where an instance keeps its secrets."""
    return core.state_dir.absolute() / "instances" / core.instance / FOLDER


@contextmanager
def _as_fault() -> Iterator[None]:
    try:
        yield
    except (Unsafe, OSError) as error:
        raise ConfigurationError([Fault("state_dir", str(error))]) from None


def _kept_port(files: PrivateFiles) -> int | None:
    found = files.read(PORT_FILE)
    if found is not None and not (found.isdecimal() and 0 < int(found) < 65536):
        raise Unsafe(f"{files.path / PORT_FILE} holds no port: correct or remove it")
    return int(found) if found else None


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server(
            (host, port), family=family, backlog=BACKLOG, dualstack_ipv6=host == "::"
        )
    except OSError as error:
        where = f"{bracketed(host)}:{port}"
        if error.errno == errno.EADDRNOTAVAIL:
            told = f"no interface of this machine has the address {host}"
            raise ConfigurationError([Fault("tcp.host", told)]) from None
        told = f"{where} cannot be listened on: {os.strerror(error.errno or 0)}"
        raise ConfigurationError([Fault("tcp.port", told)]) from None
