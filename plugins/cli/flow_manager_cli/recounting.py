"""``flow-manager history``: the feed of activities, in words."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

import anyio
import click

from flow_manager_cli.asking import DONE, FAILED, NOT_ASKED
from flow_manager_cli.calling import NotReached, calling
from flow_manager_cli.options import as_json, reaching
from flow_manager_cli.reaching import Place, find_place
from flow_manager_core.log_text import one_line

#: Lines that the service gives in one answer.
PAGE = 1000


@click.command()
@click.option("--container", metavar="CONTAINER", help="One that is there, or was.")
@click.option("--kind", "kinds", multiple=True, metavar="KIND", help="Such as container_crash.")
@click.option("--since", metavar="TIME", help="RFC 3339, or seconds since the epoch.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, help="The latest (50).")
@as_json
@reaching
def history(
    *,
    container: str | None,
    kinds: tuple[str, ...],
    since: str | None,
    limit: int,
    as_json: bool,
    timeout: float,
    **options: Any,
) -> int:
    """Tell what was done and what happened, the latest last.

    Exit codes are those of request.
    """
    asked = {"container_id": container, "kinds": list(kinds), "since": _moment(since)}
    query = {key: value for key, value in asked.items() if value}
    tell = _as_json if as_json else line_of
    place = find_place(options, os.environ)
    return run_history(place, query, limit, timeout, lambda entry: click.echo(tell(entry)))


def run_history(
    place: Place,
    query: Mapping[str, Any],
    limit: int,
    timeout: float,
    tell: Callable[[Mapping[str, Any]], None],
) -> int:
    """Read the latest entries, page after page, and tell them, oldest first."""

    async def ask() -> int:
        entries: list[Any] = []
        body: dict[str, Any] = {**query, "newest_first": True}
        async with calling(place, [], timeout) as call:
            while len(entries) < limit:
                body["limit"] = min(limit - len(entries), PAGE)
                good, answer = await call.ask("get_activity_log", body, timeout)
                if not good:
                    click.echo(json.dumps(answer), err=True)
                    return FAILED
                entries += answer["entries"]
                body["cursor"] = answer["next"]
                if answer["next"] is None:
                    break
        for entry in reversed(entries):
            tell(entry)
        return DONE

    try:
        return anyio.run(ask)
    except NotReached as error:
        click.echo(f"flow-manager: {place.url}: {error}", err=True)
        return NOT_ASKED


def line_of(entry: Mapping[str, Any]) -> str:
    """One entry in words; nothing that a program has said can hide or colour it."""
    details = entry["details"]
    by = f" by {one_line(details['by'])}" if details.get("by") else ""
    subject = entry["container_id"] or "-"
    kind = entry["activity_type"]
    return f"{entry['timestamp']}  {subject:12}  {kind}{by}: {one_line(entry['message'])}"


def _as_json(entry: Mapping[str, Any]) -> str:
    return json.dumps(entry)


def _moment(text: str | None) -> str | float | None:
    """Seconds as a number; what it means else is the service's to say."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return text
