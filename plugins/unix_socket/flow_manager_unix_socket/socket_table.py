"""The kernel's own table of Unix sockets: who is connected to which file, without connecting.

Linux answers for the network namespace of whoever asks; see sock_diag(7).
"""

from __future__ import annotations

import socket
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

from flow_manager_core.findings import NotExamined

#: From Linux's netlink.h, sock_diag.h, unix_diag.h and tcp_states.h.
NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
NLM_F_REQUEST, NLM_F_DUMP = 0x1, 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
UDIAG_SHOW_VFS, UNIX_DIAG_VFS = 0x2, 1
ESTABLISHED = 1

HEADER = struct.Struct("=IHHII")
REQUEST = struct.Struct("=BBHIII2I")
MESSAGE = struct.Struct("=BBBBI2I")
ATTRIBUTE = struct.Struct("=HH")
FILE = struct.Struct("=II")

#: Bytes that one read takes; the kernel fills 32 KiB at most.
PIECE = 256 * 1024
#: Seconds: the kernel answers at once, or is none that can.
PATIENCE = 3.0
#: The kernel's device number has 20 bits for the minor.
MINOR_BITS = 20


def connections() -> Counter[tuple[int, int]]:
    """Count the connections that were accepted at each socket's file: by inode and device.

    Inodes are cut to 32 bits, as the kernel gives them; devices are as `device_of` gives them.

    Raises:
        NotExamined: the kernel does not say.
    """
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as line:
            line.settimeout(PATIENCE)
            line.send(_question())
            return Counter(_connected(line))
    except OSError as error:
        raise NotExamined(f"the kernel does not list Unix sockets: {error}") from None


def device_of(major: int, minor: int) -> int:
    """A device's number as the kernel writes it."""
    return major << MINOR_BITS | minor


def _question() -> bytes:
    any_cookie = 0xFFFFFFFF
    body = REQUEST.pack(
        socket.AF_UNIX, 0, 0, 1 << ESTABLISHED, 0, UDIAG_SHOW_VFS, any_cookie, any_cookie
    )
    size = HEADER.size + len(body)
    return HEADER.pack(size, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, 1, 0) + body


def _connected(line: socket.socket) -> Iterator[tuple[int, int]]:
    while True:
        data = line.recv(PIECE)
        at = 0
        while at < len(data):
            size, kind, *_ = HEADER.unpack_from(data, at)
            if kind == NLMSG_DONE:
                return
            if kind == NLMSG_ERROR:
                raise OSError("it refuses the question")
            yield from _files(data[at + HEADER.size + MESSAGE.size : at + size])
            at += _aligned(size)


def _files(attributes: bytes) -> Iterator[tuple[int, int]]:
    at = 0
    with suppress(struct.error):  # cut short
        while at < len(attributes):
            size, kind = ATTRIBUTE.unpack_from(attributes, at)
            if kind == UNIX_DIAG_VFS:
                yield FILE.unpack_from(attributes, at + ATTRIBUTE.size)
            at += max(_aligned(size), ATTRIBUTE.size)


def _aligned(size: int) -> int:
    return (size + 3) & ~3
