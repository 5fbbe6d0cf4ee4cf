"""The commands of ``flow-manager`` and their options."""

from __future__ import annotations

import os
from typing import Any

import click

from flow_manager_cli.archiving import folders_of, run_transfer
from flow_manager_cli.asking import run_events, run_request
from flow_manager_cli.demo import run_demo
from flow_manager_cli.journal_commands import journal
from flow_manager_cli.listing import list_plugins
from flow_manager_cli.options import (
    Assignment,
    LogPosition,
    as_json,
    choosing,
    given_settings,
    reaching,
    serving,
)
from flow_manager_cli.reaching import find_place
from flow_manager_cli.recounting import history
from flow_manager_cli.settings_listing import list_settings
from flow_manager_core import __version__, service
from flow_manager_core.errors import ConfigurationError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="flow-manager")
def cli() -> None:
    """The control plane for programs that live in containers and answer in real time."""


@cli.command()
@serving
def serve(**options: Any) -> int:
    """Run the service until SIGTERM or Ctrl-C; containers run on."""
    return service.run(given_settings(**options), os.environ, click.echo)


@cli.command()
@choosing
@as_json
def plugins(as_json: bool, **options: Any) -> int:
    """List what is installed, chosen, blocked and broken, and why.

    Takes the settings as serve does. Exits with 2 if a setting is wrong or what is chosen is
    broken, with 1 if anything else is broken.
    """
    return list_plugins(given_settings(**options), os.environ, click.echo, as_json=as_json)


@cli.command()
@serving
@as_json
def config(as_json: bool, **options: Any) -> int:
    """Show every setting, its value and where that came from; secrets are hidden.

    Takes the settings as serve does. Exits with 2 if they are wrong, with one line for each fault.
    """
    return list_settings(given_settings(**options), os.environ, click.echo, as_json=as_json)


@cli.command()
@serving
@as_json
@click.option("--only", multiple=True, metavar="CHECK", help="Run this check; may be repeated.")
@click.option("--image", "images", multiple=True, metavar="IMAGE", help="Look for an image, too.")
@click.option("--fix", is_flag=True, help="Clean up what is left over; nothing that is in use.")
@click.option("--list", "listing", is_flag=True, help="List the checks, and run none.")
def doctor(
    only: tuple[str, ...],
    images: tuple[str, ...],
    fix: bool,
    as_json: bool,
    listing: bool,
    **options: Any,
) -> int:
    """Find what is amiss, and say what to do about it.

    Takes the settings as serve does, beside a service that runs or without. Exits with 0 if nothing
    is amiss, 1 for warnings, 2 for errors.
    """
    # Imported on use: the doctor knows all of the core, and serve is not to wait for that.
    from flow_manager_cli.doctor import consult, list_checks

    given = given_settings(**options)
    if listing:
        return list_checks(given, os.environ, click.echo)
    return consult(
        given, os.environ, click.echo, only=only, images=images, fix=fix, as_json=as_json
    )


@cli.command()
@click.option("--backend", metavar="NAME", help="docker or process; default: the best there is.")
@click.option("--image", metavar="IMAGE", help="An image with python3, for Docker.")
@click.option("--block", "blocked", multiple=True, metavar="PLUGIN", help="Do not load a plugin.")
def demo(backend: str | None, image: str | None, blocked: tuple[str, ...]) -> int:
    """Show the main job: a flow starts, answers, crashes, and recovers. Leaves nothing behind."""
    return run_demo(backend=backend, image=image, blocked=blocked, say=click.echo)


@cli.command()
@click.argument("name")
@click.argument("payload", default="{}")
@reaching
def request(name: str, payload: str, timeout: float, **options: Any) -> int:
    """Send one request to a running service, and print the answer.

    NAME is an operation such as list_containers. PAYLOAD is JSON, - for standard input, or @FILE:
    what is on the command line can be read by others on this machine.

    Exits with 0 and the answer as one line of JSON; with 1 and the error object on standard error;
    with 2 if there was no answer: nobody listens, no or a wrong token, time is up.
    """
    return run_request(
        find_place(options, os.environ), name, payload, timeout, click.echo, complain
    )


@cli.command()
@click.option("--only", metavar="NAME,...", help="The events to print; default: all.")
@click.option("--since", type=LogPosition(), help="Begin with what came after this event.")
@reaching
def events(only: str | None, since: dict[str, Any] | None, timeout: float, **options: Any) -> int:
    """Print the events of a running service, one JSON object a line, until Ctrl-C.

    Exits with 2 if it cannot be reached, or is gone: events may be missing then.
    """
    wanted = None if only is None else [name for name in only.split(",") if name]
    place = find_place(options, os.environ)
    return run_events(place, wanted, timeout, click.echo, complain, since)


@cli.command()
@click.argument("container", required=False)
@click.argument("path", required=False)
@click.option("--verify", metavar="PATH", help="Check an archive instead of making one.")
@click.option(
    "--exclude",
    multiple=True,
    type=click.Choice(["filesystem", "volume", "code"]),
    help="Leave a kind of parts out.",
)
@click.option("--no-pause", is_flag=True, help="Do not halt the program meanwhile.")
@click.option("--overwrite", is_flag=True, help="Replace an archive of this name.")
@reaching
def backup(
    *,
    container: str | None,
    path: str | None,
    verify: str | None,
    exclude: tuple[str, ...],
    no_pause: bool,
    overwrite: bool,
    timeout: float,
    **options: Any,
) -> int:
    """Write what CONTAINER is and has into the archive PATH, or check one.

    PATH is on the service's host, in its folder for backups (setting backup_dir). The archive holds
    the container's environment, and so its secrets. Exit codes are those of request.
    """
    if (verify is None) != (container is not None and path is not None):
        raise click.UsageError("Give CONTAINER and PATH, or --verify PATH.")
    place = find_place(options, os.environ)
    if verify is not None:
        asked: dict[str, Any] = {"path": verify}
        return run_transfer(place, "verify_backup", asked, timeout, click.echo, complain)
    asked = {
        "container_id": container,
        "path": path,
        "exclude": list(exclude),
        "pause": not no_pause,
        "overwrite": overwrite,
    }
    return run_transfer(place, "backup_container", asked, timeout, click.echo, complain)


@cli.command()
@click.argument("path")
@click.option("--name", metavar="NAME", help="Instead of the old one.")
@click.option("--start", is_flag=True, help="Start the container.")
@click.option("--overwrite", is_flag=True, help="Write over what the volumes hold.")
@click.option(
    "--volume",
    "volumes",
    multiple=True,
    type=Assignment(),
    help="OLD=NEW: a host folder of the archive, and the one of this host.",
)
@reaching
def restore(
    *,
    path: str,
    name: str | None,
    start: bool,
    overwrite: bool,
    volumes: tuple[tuple[str, str], ...],
    timeout: float,
    **options: Any,
) -> int:
    """Make a container of the archive PATH, once all of it was checked.

    PATH is on the service's host, in its folder for backups. Exit codes are those of request.
    """
    asked = {
        "path": path,
        "name": name,
        "start": start,
        "overwrite": overwrite,
        "volumes": folders_of(volumes),
    }
    place = find_place(options, os.environ)
    return run_transfer(place, "restore_container", asked, timeout, click.echo, complain)


cli.add_command(history)
cli.add_command(journal)


def complain(line: str) -> None:
    """Print a line on standard error."""
    click.echo(line, err=True)


def run(arguments: list[str] | None) -> int:
    """Run a command and return its exit code; the process's own arguments by default."""
    try:
        result = cli.main(arguments, prog_name="flow-manager", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return 130
    except ConfigurationError as error:
        service.tell_faults(error.faults)
        return service.CONFIGURATION_EXIT
    return int(result or 0)
