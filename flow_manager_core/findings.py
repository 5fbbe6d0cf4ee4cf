"""What an examination finds: small values that the core's and every provider's checks speak in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import StrEnum
from functools import partial
from typing import Any, TypeVar

import anyio
from anyio import to_thread
from attrs import field, frozen

from flow_manager_core.models import Container
from flow_manager_core.settings import Settings

T = TypeVar("T")


class Severity(StrEnum):
    """How bad it is: nothing to do, may cause issues, prevents the service or a flow from work."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@frozen(kw_only=True)
class Finding:
    """One thing that a check saw. Make it with `fine`, `warning` or `error`.

    Args:
        found: one sentence, with the names and numbers that were seen; no secret.
        remedy: what to do about it, in the guide's words; empty for `Severity.OK`.
        lines: what belongs to it and has lines of its own, such as the tail of a log.
        details: the same for programs, JSON values.
        fix: does the remedy where that is safe, and says what it did. Blocking. It looks again
            before it touches anything, follows no link, and may be called twice.
    """

    severity: Severity
    found: str
    remedy: str = ""
    lines: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(factory=dict)
    fix: Callable[[], str] | None = None


def fine(found: str, **details: Any) -> Finding:
    """What was seen is as it should be."""
    return Finding(severity=Severity.OK, found=found, details=details)


def warning(found: str, remedy: str, **rest: Any) -> Finding:
    """Something that might cause issues."""
    return Finding(severity=Severity.WARNING, found=found, remedy=remedy, **rest)


def error(found: str, remedy: str, **rest: Any) -> Finding:
    """Something that prevents the service, or a flow, from working."""
    return Finding(severity=Severity.ERROR, found=found, remedy=remedy, **rest)


class NotExamined(Exception):
    """A check cannot be made here; the text says why. That is no finding."""


@frozen(kw_only=True)
class Scene:
    """What is known before providers' checks begin.

    Args:
        core: the manager's settings.
        service: the process of the manager that holds the instance; ``None``: none does.
        containers: the instance's own, with those that ended; empty while `known` is ``None``.
        known: the names of all containers, of whatever instance, that somebody may come back for;
            ``None`` where that cannot be told, and then nothing may be called left over.
        isolated: whether containers have a file system of their own.
        images: images that the operator asks about.
    """

    core: Settings
    service: int | None = None
    containers: Sequence[Container] = ()
    isolated: bool = True
    known: frozenset[str] | None = None
    images: tuple[str, ...] = ()


Look = Callable[[Any, Scene], Awaitable[Sequence[Finding]]]


@frozen(kw_only=True)
class Check:
    """What a provider can find out about itself, by looking alone: it changes nothing.

    Args:
        name: small letters, digits and ``-``; what operators choose it by.
        asks: the question it answers, one line.
        look: gets the provider's `ProviderContext` and the `Scene`. It may raise `NotExamined`;
            whatever else it raises is a finding too.
        needs_engine: whether it is left out while the backend's engine does not answer.
        seconds: after which it is given up, which is a finding.
    """

    name: str
    asks: str
    look: Look
    needs_engine: bool = False
    seconds: float = 10.0


async def in_thread(work: Callable[..., T], *arguments: Any) -> T:
    """Run what blocks in a thread that nothing else waits for; one that hangs is left behind."""
    call = partial(work, *arguments)
    return await to_thread.run_sync(call, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1))


def blocking(look: Callable[[Any, Scene], Sequence[Finding]]) -> Look:
    """Make a check's `look` of a plain function that blocks."""

    async def looked(context: Any, scene: Scene) -> Sequence[Finding]:
        return await in_thread(look, context, scene)

    return looked


__all__ = [
    "Check",
    "Finding",
    "NotExamined",
    "Scene",
    "Severity",
    "blocking",
    "error",
    "fine",
    "in_thread",
    "warning",
]
