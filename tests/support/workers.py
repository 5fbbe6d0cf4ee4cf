"""A pytest plugin: workers of pytest-xdist that share nothing of the network.

Each worker process moves into a network namespace of its own, where root may do that: there it has
its own loopback and its own Docker Engine, whose bridge no other worker's can spoil.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

from tests.support.engine import VARIABLE
from tests.support.private_dockerd import have_programs

#: From <linux/sched.h>; ``os.unshare`` came with Python 3.12.
CLONE_NEWNET = 0x40000000


def pytest_configure(config: pytest.Config) -> None:
    """Move a worker away, before it has made any thread or socket of its own."""
    if hasattr(config, "workerinput") and VARIABLE not in os.environ and _may_move():
        _move()


def _may_move() -> bool:
    return sys.platform == "linux" and have_programs("ip")


def _move() -> None:
    # It holds for the calling thread and all that begin after it; tests run in the first one.
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "unshare")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
