"""The service: a manager with its frontends, from start to signal. What ``serve`` runs."""

from __future__ import annotations

import gc
import importlib.util
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import anyio
from attrs import evolve

from flow_manager_core.configuration import Configuration, configure
from flow_manager_core.errors import ConfigurationError
from flow_manager_core.log import get_log
from flow_manager_core.logs import logging_to
from flow_manager_core.manager import FlowManager
from flow_manager_core.models import Fault
from flow_manager_core.settings import EventLoop
from flow_manager_core.tokens import token_path, with_token

CONFIGURATION_EXIT = 2
#: For a fault of the service's own; the log has it.
FAILURE_EXIT = 1


def run(
    command_line: Mapping[str, Any],
    environ: Mapping[str, str],
    say: Callable[[str], None] | None = None,
) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code.

    Args:
        say: prints a line for people; left out: to standard output, at once.
    """
    try:
        code = _run(command_line, environ, say or partial(print, flush=True))
    except (ConfigurationError, BaseExceptionGroup) as error:
        faults = _faults(error)
        if not faults:
            raise
        tell_faults(faults)
        return CONFIGURATION_EXIT
    _leave_threads_behind(code)
    return code


def tell_faults(faults: Iterable[Fault]) -> None:
    """Print one line for each fault to standard error."""
    for fault in sorted(set(faults), key=lambda fault: (fault.field, fault.message)):
        print(f"flow-manager: {fault.field}: {fault.message}", file=sys.stderr)


def _leave_threads_behind(code: int) -> None:
    """End the process although a worker thread still waits for an engine that hangs.

    A thread cannot be cancelled, and the interpreter would wait for it; everything else is done.
    """
    threads = [t for t in threading.enumerate() if t is not threading.current_thread()]
    if any(thread.is_alive() and not thread.daemon for thread in threads):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _run(
    command_line: Mapping[str, Any], environ: Mapping[str, str], say: Callable[[str], None]
) -> int:
    configuration = configure(command_line, environ)
    settings = with_token(configuration.settings)
    with logging_to(settings):
        for note in configuration.notes:
            get_log("settings").warning("Something that is set was not used", reason=note)
        for caution in configuration.cautions:
            get_log("settings").warning("Something that is set is not safe", reason=caution)
        configuration = evolve(configuration, settings=settings)
        try:
            anyio.run(
                serve, configuration, say, backend_options=event_loop_options(settings.event_loop)
            )
        except Exception as error:
            if _faults(error):
                raise
            get_log("service").critical("The service failed", exc_info=error)
            return FAILURE_EXIT
    return 0


def _faults(error: BaseException) -> set[Fault]:
    if isinstance(error, ConfigurationError):
        return set(error.faults)
    inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    return {fault for one in inner for fault in _faults(one)}


def event_loop_options(wanted: EventLoop = EventLoop.AUTO) -> dict[str, Any]:
    """uvloop where it is installed, unless something else is wanted.

    Raises:
        ConfigurationError: what is wanted is not installed.
    """
    installed = importlib.util.find_spec("uvloop") is not None
    if wanted is EventLoop.UVLOOP and not installed:
        raise ConfigurationError([Fault("event_loop", "uvloop is not installed")])
    return {"use_uvloop": installed and wanted is not EventLoop.ASYNCIO}


async def serve(configuration: Configuration, say: Callable[[str], None]) -> None:
    """Run the service in this event loop until a signal comes; a second one ends it at once."""
    asked = anyio.Event()
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with anyio.create_task_group() as group:

            async def take_signals() -> None:
                async for number in signals:
                    get_log("service").info("Shutting down", signal=number.name)
                    if asked.is_set():
                        group.cancel_scope.cancel()
                    asked.set()

            group.start_soon(take_signals)
            await _serve_until(asked, configuration, say)
            group.cancel_scope.cancel()


async def _serve_until(
    asked: anyio.Event, configuration: Configuration, say: Callable[[str], None]
) -> None:
    manager = FlowManager(
        configuration.settings,
        host=configuration.host,
        provider_settings=configuration.provider_settings,
    )
    async with manager:
        for line in greeting(manager, configuration.origins):
            say(line)
        with _frozen():
            await asked.wait()


@contextmanager
def _frozen() -> Iterator[None]:
    """Keep what is there now out of the garbage collector's sight: all of it stays anyway.

    A full collection halts everything while it looks through it: 42 ms, measured, each time.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def greeting(manager: FlowManager, origins: Mapping[str, str]) -> list[str]:
    """What the operator reads at the start, with a line to copy into a client."""
    settings = manager.settings
    lines = [f"Flow Manager {manager.version}, backend {manager.backend_name}"]
    lines += [f"Listening on {address}" for address in manager.addresses]
    if settings.no_auth:
        return [*lines, "No token is asked for (--no-auth)"]
    if settings.tokens:
        more = ", ".join(":".join(entry.split(":")[:2]) for entry in settings.tokens)
        lines.append(f"More tokens: {more}")
    if origins.get("token") != "default" or settings.token_file:
        return [*lines, "Clients present the token that was set"]
    lines.append(f"Token: {settings.token}  (kept in {token_path(settings)})")
    for address in [a for a in manager.addresses if a.startswith("http")][:1]:
        lines.append(f'Connect: io("{address}", {{auth: {{token: "{settings.token}"}}}})')
    return lines
