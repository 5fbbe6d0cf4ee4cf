"""The options of the commands, and what they say of the settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


class Assignment(click.ParamType[tuple[str, str]]):
    """``NAME=VALUE``."""

    name = "NAME=VALUE"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Split at the first equals sign."""
        name, equals, text = str(value).partition("=")
        if not (name and equals):
            # What was given is not quoted: it may hold a secret.
            self.fail("must be of the form NAME=VALUE", param, ctx)
        return name, text


class LogPosition(click.ParamType[dict[str, Any]]):
    """``EPOCH/SEQ``, as an event's ``epoch`` and ``seq``."""

    name = "EPOCH/SEQ"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> dict[str, Any]:
        """Split at the slash."""
        epoch, _, seq = str(value).rpartition("/")
        if not epoch or not (seq.isascii() and seq.isdigit()):
            self.fail("must be of the form EPOCH/SEQ", param, ctx)
        return {"epoch": epoch, "seq": int(seq)}


_CHOOSING = (
    click.option("--config", "config_file", metavar="FILE", help="A TOML or JSON settings file."),
    click.option("--backend", metavar="NAME", help="docker, process, or auto (default)."),
    click.option(
        "--block", "blocked", multiple=True, metavar="PLUGIN", help="Do not load a plugin."
    ),
    click.option(
        "--set", "assignments", multiple=True, type=Assignment(), help="Any other setting."
    ),
)
_SERVING = (
    click.option("--host", metavar="ADDRESS", help="Where to listen (default 127.0.0.1)."),
    click.option("--port", metavar="PORT", help="TCP port, 0 for any free one (default 8000)."),
    click.option("--no-auth", is_flag=True, default=None, help="Ask for no token; loopback only."),
    click.option("--socket-dir", metavar="FOLDER", help="Where the channels' sockets stand."),
    click.option("--state-dir", metavar="FOLDER", help="What the manager keeps between lives."),
    click.option("--log-level", metavar="LEVEL", help="DEBUG, INFO, WARNING, ERROR or CRITICAL."),
    click.option("--log-format", metavar="FORMAT", help="console or json."),
)

_REACHING = (
    click.option("--url", metavar="URL", help="Where the service is; default: as serve has it."),
    click.option("--token-file", metavar="FILE", help="Holds the token; default: as serve has it."),
    click.option("--ca", metavar="FILE", help="Certificates to trust for https, in PEM."),
    click.option(
        "--timeout",
        metavar="SECONDS",
        type=click.FloatRange(min=0, min_open=True, max=86400),
        default=60.0,
        help="How long to wait to be let in, and again for the answer (60).",
    ),
)
#: Of serve's options those that say where the service is, and who gets in.
_FINDING = (_CHOOSING[0], *(_SERVING[place] for place in (0, 1, 2, 4)))

as_json: Callable[[F], F] = click.option("--json", "as_json", is_flag=True, help="For programs.")


def choosing(command: F) -> F:
    """Give a command the options that say which plugins a service would use."""
    for option in reversed(_CHOOSING):
        command = option(command)
    return command


def serving(command: F) -> F:
    """Give a command all options of ``serve``."""
    for option in reversed(_SERVING):
        command = option(command)
    return choosing(command)


def finding(command: F) -> F:
    """Give a command what says where the service keeps what it knows."""
    for option in reversed((_CHOOSING[0], *_CHOOSING[2:], _SERVING[4])):
        command = option(command)
    return command


def reaching(command: F) -> F:
    """Give a command what finds a running service and gets in."""
    for option in reversed((*_REACHING, *_FINDING)):
        command = option(command)
    return command


def given_settings(
    *, blocked: tuple[str, ...], assignments: tuple[tuple[str, str], ...], **options: Any
) -> dict[str, Any]:
    """The command line's settings, by name."""
    given = {**options, **dict(assignments)}
    if blocked:
        given["blocked_plugins"] = ",".join(blocked)
    return given
