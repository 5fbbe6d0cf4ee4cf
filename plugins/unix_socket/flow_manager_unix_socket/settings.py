"""What an operator may set for this transport."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import Attribute, field, frozen

from flow_manager_core.models import Fault
from flow_manager_core.structuring import Faulty, integer, number

Check = Callable[[Any, "Attribute[Any]", Any], None]


def _integer(least: int, most: int) -> Check:
    return _named(lambda value: integer(value, least=least, most=most))


def _number(least: float, most: float) -> Check:
    return _named(lambda value: number(value, least=least, most=most))


def _named(check: Callable[[Any], object]) -> Check:
    def validate(_settings: Any, attribute: Attribute[Any], value: Any) -> None:
        try:
            check(value)
        except Faulty as faulty:
            raise Faulty(*(Fault(attribute.name, f.message) for f in faulty.faults)) from None

    return validate


@frozen(kw_only=True)
class UnixSocketSettings:
    """Settings of the transport.

    Args:
        max_connections: connections that one container may hold open at a time, 1 to 1000.
        backlog: connections that may wait to be accepted, 1 to 4096 (Linux's usual most).
        watch_interval: seconds between two looks at whether the files are there, 0.05 to 3600;
            over 50 channels take turns, so that with 200 each is looked at every fourth time.

    Raises:
        Faulty: a value is out of its bounds.
    """

    max_connections: int = field(default=8, validator=_integer(1, 1000))
    backlog: int = field(default=128, validator=_integer(1, 4096))
    watch_interval: float = field(default=0.5, validator=_number(0.05, 3600))
