"""Who listens on a TCP port of this host, by Linux's /proc alone: nothing is bound or dialled."""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

PROC = Path("/proc")
#: ``TCP_LISTEN`` of Linux's include/net/tcp_states.h.
LISTENING = "0A"


@frozen
class Listener:
    """A socket that listens.

    Args:
        address: what it is bound to.
        inode: names the socket.
        pid: the process that holds it; ``None``: it is not ours to see.
        command: that process's name.
    """

    address: str
    port: int
    inode: int
    pid: int | None = None
    command: str = ""

    def told(self) -> str:
        """Who it is, for people."""
        if self.pid is None:
            return "a process of another user"
        return f"process {self.pid} ({self.command})"


def listener_on(host: str, port: int) -> Listener | None:
    """Find who listens where `host` and `port` would be bound; ``None``: nobody.

    Args:
        host: an address or a name; one that is unknown takes in no listener.

    Raises:
        OSError: this system has no table of sockets.
    """
    wanted = _addresses(host)
    for found in _listeners(port):
        theirs = ipaddress.ip_address(found.address)
        if any(_overlap(one, theirs) for one in wanted):
            return _with_process(found)
    return None


def is_bindable(host: str) -> bool:
    """Whether this machine has the address: tried with a port that the kernel chooses."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
    return True


def may_bind(port: int) -> bool:
    """Whether this user may listen on a port so low; see capabilities(7), CAP_NET_BIND_SERVICE."""
    least = int((PROC / "sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if port >= least or port == 0:
        return True
    status = (PROC / "self/status").read_text()
    (effective,) = [line.split()[1] for line in status.splitlines() if line.startswith("CapEff")]
    return bool(int(effective, 16) & 1 << 10)


def _addresses(host: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]


def _overlap(
    one: ipaddress.IPv4Address | ipaddress.IPv6Address,
    other: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> bool:
    # A socket on :: takes IPv4's connections as well, unless it was told not to.
    same = one.version == other.version or (other.version == 6 and other.is_unspecified)
    return one == other or (same and (one.is_unspecified or other.is_unspecified))


def _listeners(port: int) -> Iterator[Listener]:
    for name in ("tcp", "tcp6"):
        table = PROC / "net" / name
        if name == "tcp6" and not table.exists():
            continue
        for line in table.read_text().splitlines()[1:]:
            fields = line.split()
            address, _, number = fields[1].partition(":")
            if fields[3] == LISTENING and int(number, 16) == port:
                yield Listener(_address(address), port, int(fields[9]))


def _address(text: str) -> str:
    """Read an address of the table: words of 32 bits, in the host's byte order."""
    words = [int(text[at : at + 8], 16) for at in range(0, len(text), 8)]
    raw = struct.pack(f"={len(words)}I", *words)
    found = ipaddress.ip_address(raw)
    mapped = getattr(found, "ipv4_mapped", None)
    return str(mapped or found)


def _with_process(found: Listener) -> Listener:
    wanted = f"socket:[{found.inode}]"
    for folder in PROC.iterdir():
        if folder.name.isdigit() and wanted in _open_files(folder):
            command = _read(folder / "comm")
            return Listener(found.address, found.port, found.inode, int(folder.name), command)
    return found


def _open_files(folder: Path) -> set[str]:
    found = set()
    try:
        for entry in os.scandir(folder / "fd"):
            found.add(_target(entry.path))
    except OSError:  # it has ended, or is another user's
        return set()
    return found


def _target(path: str) -> str:
    try:
        return str(Path(path).readlink())
    except OSError:  # it was closed meanwhile
        return ""


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
