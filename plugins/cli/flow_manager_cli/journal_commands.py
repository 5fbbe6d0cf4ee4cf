"""The commands of ``flow-manager journal`` and their options."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import click

from flow_manager_cli import journal as journals
from flow_manager_cli.options import finding, given_settings
from flow_manager_core.journal.export import EXPORTS


@click.group()
def journal() -> None:
    """Check, rebuild or export the file in which the service keeps what must not be lost."""


@journal.command()
@finding
def check(**options: Any) -> int:
    """Say what is wrong with the file, beside a service that runs or without.

    Exits with 0 if it is sound, with 1 and one line for each fault if not.
    """
    return journals.check_journal(given_settings(**options), os.environ, click.echo)


@journal.command()
@finding
def rebuild(**options: Any) -> int:
    """Move a damaged file aside, and begin a new one with what can be read of it.

    No service may run meanwhile. The damaged file is never deleted. A file that is sound is left
    alone. Containers are found again by their labels.
    """
    return journals.rebuild(given_settings(**options), os.environ, click.echo)


@journal.command()
@finding
@click.option(
    "--table",
    "tables",
    multiple=True,
    type=click.Choice(list(EXPORTS)),
    help="Only this; may be repeated. Default: all.",
)
@click.option(
    "--since", metavar="SEQ", type=click.IntRange(min=0), default=0, help="Only later events."
)
def export(tables: tuple[str, ...], since: int, **options: Any) -> int:
    """Print what the journal holds, one JSON object a line, beside a service that runs or without.

    It may hold secrets: what flows and clients said. Exits with 1 if the file cannot be read.
    """
    given = given_settings(**options)
    return journals.export(
        given, os.environ, click.echo, partial(click.echo, err=True), tables=tables, since=since
    )
