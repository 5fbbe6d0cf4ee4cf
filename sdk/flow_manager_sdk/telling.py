"""What this package says by itself: to stderr, which the manager keeps with the flow's output."""

from __future__ import annotations

import sys


def tell(text: str) -> None:
    """Write one line."""
    sys.stderr.write(f"flow_manager_sdk: {text}\n")
    sys.stderr.flush()
