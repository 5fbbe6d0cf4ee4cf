"""``flow-manager backup`` and ``flow-manager restore``: long requests, with their progress."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from typing import Any

import anyio

from flow_manager_cli.asking import DONE, FAILED, NOT_ASKED
from flow_manager_cli.calling import NotReached, calling
from flow_manager_cli.reaching import Place

#: Seconds; the service itself ends a transfer in which nothing moves.
LONGEST = 86400.0
PROGRESS = "backup_progress"
MEGABYTE = 1_000_000

Say = Callable[[str], None]


def run_transfer(
    place: Place, name: str, asked: Mapping[str, Any], timeout: float, say: Say, complain: Say
) -> int:
    """Send a request and follow its progress; return the exit code.

    Args:
        asked: the payload; what is ``None`` is left out.
        timeout: seconds to be let in.
        say: prints the answer, JSON on one line.
        complain: prints progress, an error object, or why there is no answer.
    """
    body = {key: value for key, value in asked.items() if value is not None}
    body["request_id"] = f"cli-{secrets.token_hex(8)}"

    def hear(event: str, told: Any) -> None:
        if event == PROGRESS and told.get("request_id") == body["request_id"]:
            complain(progress_line(told))

    async def ask() -> int:
        async with calling(place, [PROGRESS], timeout, hear) as call:
            good, answer = await call.ask(name, body, LONGEST)
        (say if good else complain)(json.dumps(answer))
        return DONE if good else FAILED

    try:
        return anyio.run(ask)
    except NotReached as error:
        complain(f"flow-manager: {place.url}: {error}")
        return NOT_ASKED


def progress_line(told: Mapping[str, Any]) -> str:
    """One event in words."""
    done, total = told["current"] / MEGABYTE, told["total"]
    of = f" of {total / MEGABYTE:.1f}" if total else ""
    return f"{told['phase']}: {done:.1f}{of} MB"


def folders_of(assignments: tuple[tuple[str, str], ...]) -> dict[str, str] | None:
    """What ``--volume OLD=NEW`` says; ``None`` for nothing."""
    return dict(assignments) or None
