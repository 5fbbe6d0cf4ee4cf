"""``flow-manager``: the commands and their options."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from flow_manager_cli.demo import run_demo
from flow_manager_cli.listing import plugin_lines
from flow_manager_core import __version__, service
from flow_manager_core.plugins import PluginHost, PluginStatus


class Assignment(click.ParamType[tuple[str, str]]):
    """``NAME=VALUE``."""

    name = "NAME=VALUE"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Split at the first equals sign."""
        name, equals, text = str(value).partition("=")
        if not (name and equals):
            self.fail(f"{value!r} is not of the form NAME=VALUE", param, ctx)
        return name, text


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="flow-manager")
def cli() -> None:
    """The control plane for programs that live in containers and answer in real time."""


@cli.command()
@click.option("--config", "config_file", metavar="FILE", help="A TOML or JSON file of settings.")
@click.option("--backend", metavar="NAME", help="docker, process, or auto (default).")
@click.option("--host", metavar="ADDRESS", help="Where to listen (default 127.0.0.1).")
@click.option("--port", metavar="PORT", help="TCP port, 0 for any free one (default 8000).")
@click.option("--no-auth", is_flag=True, default=None, help="Ask for no token; loopback only.")
@click.option("--socket-dir", metavar="FOLDER", help="Where the channels' sockets stand.")
@click.option("--state-dir", metavar="FOLDER", help="What the manager keeps between its lives.")
@click.option("--log-level", metavar="LEVEL", help="DEBUG, INFO, WARNING, ERROR or CRITICAL.")
@click.option("--log-format", metavar="FORMAT", help="console or json.")
@click.option("--block", "blocked", multiple=True, metavar="PLUGIN", help="Do not load a plugin.")
@click.option("--set", "assignments", multiple=True, type=Assignment(), help="Any other setting.")
def serve(
    blocked: tuple[str, ...], assignments: tuple[tuple[str, str], ...], **options: Any
) -> int:
    """Run the service until SIGTERM or Ctrl-C; containers run on."""
    given = {**options, **dict(assignments)}
    if blocked:
        given["blocked_plugins"] = ",".join(blocked)
    return service.run(given, os.environ, click.echo)


@cli.command()
@click.option("--block", "blocked", multiple=True, metavar="PLUGIN", help="Do not load a plugin.")
def plugins(blocked: tuple[str, ...]) -> int:
    """List what is installed, what each plugin offers, and what is blocked or broken."""
    host = PluginHost(blocked)
    for line in plugin_lines(host):
        click.echo(line)
    return 1 if any(info.status is PluginStatus.BROKEN for info in host.infos) else 0


@cli.command()
@click.option("--backend", metavar="NAME", help="docker or process; default: the best there is.")
@click.option("--image", metavar="IMAGE", help="An image with python3, for Docker.")
@click.option("--block", "blocked", multiple=True, metavar="PLUGIN", help="Do not load a plugin.")
def demo(backend: str | None, image: str | None, blocked: tuple[str, ...]) -> int:
    """Show the main job: a flow starts, answers, crashes, and recovers. Leaves nothing behind."""
    return run_demo(backend=backend, image=image, blocked=blocked, say=click.echo)


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code; what ``flow-manager`` starts."""
    try:
        result = cli.main(arguments, prog_name="flow-manager", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return 130
    return int(result or 0)


if __name__ == "__main__":
    sys.exit(main())
