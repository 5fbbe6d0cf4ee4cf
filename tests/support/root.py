"""What only root can set up, and with which programs."""

from __future__ import annotations

import os
import shutil

from tests.support.engine import missing


def need_root(*programs: str) -> None:
    """Pass over a test whose fault cannot be made here; where nothing may be missing, fail it."""
    if os.geteuid() != 0 or not all(map(shutil.which, programs)):
        missing(f"this fault is made by root with {', '.join(programs) or 'mount'}")
