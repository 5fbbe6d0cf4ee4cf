"""Everywhere that a secret could have gone: names of places, and what is there."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.support.engine import DockerEngine

Place = tuple[str, bytes]


def files(*roots: Path) -> Iterator[Place]:
    """Every plain file below some folders, ``file:`` and its path there."""
    for root in roots:
        for path in sorted(root.rglob("*")):
            if path.is_file() and not path.is_symlink():
                with suppress(FileNotFoundError):  # the service lives, and takes files away
                    yield f"file:{path.relative_to(root)}", path.read_bytes()


def log_lines(life: int, lines: Iterable[str]) -> Iterator[Place]:
    """What a service said: ``greeting:`` is for the operator's eyes, ``log:`` is the log."""
    for number, line in enumerate(lines):
        kind = "greeting" if line.startswith(("Token: ", "Connect: ")) else "log"
        yield f"{kind}:{life}:{number}", line.encode(errors="surrogateescape")


def told(who: str, things: Iterable[Any]) -> Iterator[Place]:
    """What a client was told, one by one."""
    for number, thing in enumerate(things):
        name = thing[0] if isinstance(thing, tuple) else ""
        yield f"{who}:{name}:{number}", json.dumps(thing, ensure_ascii=False).encode()


def processes(manager: int) -> Iterator[Place]:
    """Every process's arguments, and variables: of the manager, of a flow, or of another."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is not ours to read
            name = (folder / "comm").read_text().strip()
            yield f"cmdline:{name}", (folder / "cmdline").read_bytes()
            environ = (folder / "environ").read_bytes()
            kind = "flow" if b"FLOW_SOCKET=" in environ else f"other:{name}"
            yield f"environ:{'manager' if folder.name == str(manager) else kind}", environ


def engine_words(engine: DockerEngine, instance: str, since: int) -> Iterator[Place]:
    """What the engine tells everyone who asks: of containers all but their variables; its events.

    Args:
        since: seconds since the epoch, of the first event.
    """
    with engine.client() as client:
        label = {"label": f"flow-manager.instance={instance}"}
        for each in client.containers(all=True, filters=label):
            found = client.inspect_container(each["Id"])
            variables = found["Config"].pop("Env")
            name = found["Name"].lstrip("/")
            yield f"inspect:{name}", json.dumps(found, ensure_ascii=False).encode()
            yield f"variables:{name}", "\0".join(variables).encode()
        now = f"{time.time():.6f}"
        events = client.events(since=since, until=now, filters=label, decode=True)
        for number, event in enumerate(events):
            yield f"engine event:{number}", json.dumps(event, ensure_ascii=False).encode()
