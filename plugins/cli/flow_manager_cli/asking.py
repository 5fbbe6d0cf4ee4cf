"""``flow-manager request`` and ``flow-manager events``: the command line as a client."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import anyio

from flow_manager_cli.calling import NotReached, calling, first_of
from flow_manager_cli.reaching import Place
from flow_manager_core.errors import ConfigurationError
from flow_manager_core.models import Fault

#: Exit codes: an answer, an error for an answer, no answer.
DONE, FAILED, NOT_ASKED = 0, 1, 2

Say = Callable[[str], None]


def run_request(
    place: Place, name: str, payload: str, timeout: float, say: Say, complain: Say
) -> int:
    """Send one request and tell its answer; return the exit code.

    Args:
        payload: JSON, ``-`` for standard input, ``@FILE``.
        timeout: seconds to be let in, and again for the answer.
        say: prints the answer, JSON on one line.
        complain: prints an error object likewise, or why there is no answer.

    Raises:
        ConfigurationError: the payload is no JSON or cannot be read.
    """
    body = read_payload(payload)

    async def ask() -> int:
        async with calling(place, [], timeout) as call:
            good, answer = await call.ask(name, body, timeout)
        (say if good else complain)(json.dumps(answer))
        return DONE if good else FAILED

    return _run(ask, place, complain)


def run_events(
    place: Place,
    only: Sequence[str] | None,
    timeout: float,
    say: Say,
    complain: Say,
    since: Mapping[str, Any] | None = None,
) -> int:
    """Print each event as a JSON object on a line of its own, until Ctrl-C; return the exit code.

    Args:
        only: names of events; ``None`` for all. Errors and gaps are told in any case.
        timeout: seconds to be let in.
        since: a position after which all events are wanted.
    """

    async def follow() -> int:
        reader_gone = anyio.Event()

        def hear(name: str, body: Any) -> None:
            if only is not None and name not in (*only, "error", "gap", "snapshot"):
                return
            try:
                say(json.dumps({"event": name, "data": body}))
            except BrokenPipeError:
                reader_gone.set()

        async with calling(place, only, timeout, hear, since) as call:
            await first_of(call.ended, reader_gone)
            if reader_gone.is_set():
                _leave_stdout()
                return DONE
            raise NotReached(call.last_words())

    try:
        return _run(follow, place, complain)
    except KeyboardInterrupt:
        return DONE


def read_payload(text: str) -> Any:
    """Read a request's payload.

    Raises:
        ConfigurationError: it is no JSON, or cannot be read.
    """
    try:
        if text == "-":
            text = sys.stdin.read()
        elif text.startswith("@"):
            text = Path(text[1:]).read_text(encoding="utf-8")
        return json.loads(text, parse_constant=_no_constant)
    except OSError as error:
        told = f"{text[1:]} cannot be read: {error.strerror}"
    except (ValueError, RecursionError) as error:
        told = f"must be JSON: {error}"
    raise ConfigurationError([Fault("PAYLOAD", told)])


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _run(work: Callable[[], Coroutine[Any, Any, int]], place: Place, complain: Say) -> int:
    try:
        return anyio.run(work)
    except NotReached as error:
        complain(f"flow-manager: {place.url}: {error}")
        return NOT_ASKED


def _leave_stdout() -> None:
    """Let the interpreter flush at its end what nobody reads any more."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.stdout.fileno())
    os.close(nothing)
