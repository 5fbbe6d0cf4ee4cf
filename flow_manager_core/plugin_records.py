"""What a hook may return: records that are whole, and that nobody can change afterwards."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import attrs

from flow_manager_core.findings import Check
from flow_manager_core.providers import Provider
from flow_manager_core.setting_values import can_be_set, settings_fields

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
CHECK_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
#: Words of the settings that stand for no provider.
RESERVED = frozenset({"auto", "off"})
#: Characters of a cause in a message; a person reads it.
LONGEST = 300


class BrokenPlugin(Exception):
    """A plugin does not keep to what the hooks ask for; the message says how."""


def told(error: BaseException) -> str:
    """One printable line on whatever a plugin raised; its own ``__str__`` may raise as well."""
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001  # nothing that a plugin does may end its isolation
        text = "(its message cannot be read)"
    if isinstance(error, BrokenPlugin):
        return one_line(text)
    return one_line(f"{type(error).__name__}: {text}")


def one_line(text: str) -> str:
    """The text in one printable line of bounded length."""
    line = " ".join(text.split())[:LONGEST]
    return "".join(c if c.isprintable() else "?" for c in line)


def records_of(hook: str, kind: type[Provider], result: Any) -> Iterator[Provider]:
    """Check what a hook returned, and copy it: what the plugin does to it later is its own affair.

    Raises:
        BrokenPlugin: it is no list of whole records.
    """
    if inspect.isawaitable(result) or inspect.isasyncgen(result):
        if inspect.iscoroutine(result):
            result.close()
        raise BrokenPlugin(f"{hook} is async; hooks are plain functions")
    if not isinstance(result, (list, tuple)):
        raise BrokenPlugin(
            f"{hook} returned {type(result).__name__}, not a list of {kind.__name__}"
        )
    for record in tuple(result):
        if not isinstance(record, kind):
            found = type(record).__name__
            raise BrokenPlugin(f"{hook} returned a {found} where a {kind.__name__} belongs")
        copy = kind(**{a.name: getattr(record, a.name) for a in attrs.fields(kind)})
        faults = [told for check in _CHECKS for told in check(copy)]
        if faults:
            raise BrokenPlugin(f"{hook}: the {kind.kind} {copy.name!r}: {'; '.join(faults)}")
        yield copy


def _name_faults(record: Provider) -> Iterator[str]:
    name: object = record.name
    summary: object = record.summary
    if not (isinstance(name, str) and NAME.fullmatch(name)):
        yield "its name must be a letter and up to 62 letters, digits, _ and -"
    elif name in RESERVED:
        yield f"its name must not be one of {', '.join(sorted(RESERVED))}"
    if not (isinstance(summary, str) and summary.isprintable()):
        yield "its summary must be one line of text"


def _callable_faults(record: Provider) -> Iterator[str]:
    if not callable(getattr(record, "factory", None)):
        yield "its factory cannot be called"
    probe = getattr(record, "probe", None)
    if probe is not None and not callable(probe):
        yield "its probe cannot be called"
    onlook = getattr(record, "onlook", None)
    if onlook is not None and not callable(onlook):
        yield "its onlook cannot be called"
    if type(getattr(record, "rank", 0)) is not int:
        yield "its rank must be a whole number"
    if type(getattr(record, "lasting", True)) is not bool:
        yield "its lasting must be true or false"


def _settings_faults(record: Provider) -> Iterator[str]:
    kind: Any = record.settings_class
    if not (isinstance(kind, type) and attrs.has(kind)):
        yield "its settings_class must be an attrs class"
        return
    for attribute in attrs.fields(kind):
        if attribute.init and attribute.default is attrs.NOTHING:
            yield f"its setting {attribute.name} has no default"
    for name, (_, annotation) in settings_fields(kind).items():
        if not can_be_set(annotation):
            yield f"its setting {name} is of a type that settings cannot have"


def _check_faults(record: Provider) -> Iterator[str]:
    checks: object = record.checks
    if not (isinstance(checks, tuple) and all(isinstance(one, Check) for one in checks)):
        yield "its checks must be a tuple of Check"
        return
    for check in checks:
        if not (isinstance(check.name, str) and CHECK_NAME.fullmatch(check.name)):
            yield "a check's name must hold small letters, digits and -, at most 63"
        elif not (isinstance(check.asks, str) and check.asks.isprintable()):
            yield f"what its check {check.name} asks must be one line of text"
        elif not callable(check.look):
            yield f"its check {check.name} cannot be called"


def _default_faults(record: Provider) -> Iterator[str]:
    """See that the defaults pass the class's own validators."""
    if any(_settings_faults(record)):
        return
    try:
        record.settings_class()
    except Exception as error:  # noqa: BLE001  # a validator may raise anything
        yield f"its settings cannot be their defaults: {told(error)}"


_CHECKS: tuple[Callable[[Provider], Iterator[str]], ...] = (
    _name_faults,
    _callable_faults,
    _settings_faults,
    _check_faults,
    _default_faults,
)
