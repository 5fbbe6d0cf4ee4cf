"""A flow that answers, and that says by its own clock when it leaves. Stands beside ``flow.py``."""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any

import flow  # the end-to-end tests', from the same folder


def serve(channel: Any) -> None:
    """Answer every message with what it holds; leave with the code that ``leave`` holds."""
    while True:
        message = flow.receive(channel)
        if message["command"] == "leave":
            flow.send(channel, "leaving", time.time_ns())
            os._exit(message["data"])
        flow.send(channel, "result", message.get("data"), message.get("id"))


if __name__ == "__main__":
    while True:
        with contextlib.closing(flow.connect()) as there, contextlib.suppress(ConnectionError):
            serve(there)
