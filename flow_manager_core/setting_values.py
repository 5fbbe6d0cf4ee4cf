"""From outside values to instances of settings classes, with every fault of a section at once.

A setting is a text, a path, true or false, a number, a choice of texts (an enum), a tuple of one of
these, or one of these or ``None``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache
from pathlib import Path
from types import MappingProxyType, NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import attrs

from flow_manager_core.models import Fault
from flow_manager_core.structuring import Faulty, expect, integer, number, sequence, text

#: The place of a secret value, wherever settings are told.
HIDDEN = "***"


def structure_setting(value: Any, kind: Any) -> Any:
    """Turn a value, or its text in the environment, into a field's type.

    Raises:
        Faulty: it cannot be.
    """
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        if isinstance(value, str):
            separator = ":" if item is Path else ","
            value = [part.strip() for part in value.split(separator) if part.strip()]
        return sequence(value, lambda one: structure_setting(one, item))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _enum(value, kind)
    if get_origin(kind) in (Union, UnionType):
        kind = next(one for one in get_args(kind) if one is not NoneType)
        return structure_setting(value, kind)
    if kind not in _SCALARS:
        raise Faulty(f"is of a type that settings cannot have: {kind}")
    return _SCALARS[kind](value)


def can_be_set(kind: Any) -> bool:
    """Whether `structure_setting` knows the type."""
    arguments = get_args(kind)
    if get_origin(kind) is tuple:
        return len(arguments) == 2 and arguments[1] is Ellipsis and can_be_set(arguments[0])
    if isinstance(kind, type) and issubclass(kind, Enum):
        return all(isinstance(member.value, str) for member in kind)
    if get_origin(kind) in (Union, UnionType):
        inner = [one for one in arguments if one is not NoneType]
        return len(inner) == 1 and can_be_set(inner[0])
    return any(kind is scalar for scalar in _SCALARS)


@cache
def settings_fields(kind: type) -> Mapping[str, tuple[attrs.Attribute[Any], Any]]:
    """The fields of a settings class that can be set, by name, each with its type."""
    hints = get_type_hints(kind)
    found = {a.name: (a, hints.get(a.name)) for a in attrs.fields(kind) if a.init}
    return MappingProxyType(found)


def is_secret(attribute: attrs.Attribute[Any]) -> bool:
    """Whether a field's value is never to be shown."""
    return bool(attribute.metadata.get("secret"))


def build_settings(kind: type, values: Mapping[str, Any]) -> tuple[Any, list[Fault]]:
    """Make an instance of a settings class; ``None`` and every fault where that cannot be.

    Args:
        values: field names to values of the fields' types.
    """
    fields = {name: attribute for name, (attribute, _) in settings_fields(kind).items()}
    try:
        return kind(**{fields[name].alias or name: value for name, value in values.items()}), []
    except Exception as error:  # noqa: BLE001  # what a validator raises is up to the plugin
        found = _refused(kind, fields, values) or _told(error)
    secrets = {str(values[name]) for name in values if is_secret(fields[name])}
    return None, [Fault(f.field, _without(f.message, secrets)) for f in found]


def _refused(
    kind: type, fields: Mapping[str, attrs.Attribute[Any]], values: Mapping[str, Any]
) -> list[Fault]:
    """Ask each field's validator by itself: attrs stops at the first that refuses."""
    draft: Any = object.__new__(kind)
    for name, value in attrs.asdict(kind(), recurse=False).items():
        object.__setattr__(draft, name, values.get(name, value))
    faults: list[Fault] = []
    for name, attribute in fields.items():
        try:
            value = getattr(draft, name)
            converted = attrs.setters.convert(draft, attribute, value)
            attrs.setters.validate(draft, attribute, converted)
        except Exception as error:  # noqa: BLE001  # see above
            faults += [Fault(name, f.message) for f in _told(error)]
    return faults


def _told(error: Exception) -> list[Fault]:
    if isinstance(error, Faulty):
        return list(error.faults)
    # attrs' validators raise (message, attribute, ...); others' messages may have several lines.
    message = str(error.args[0]) if error.args else type(error).__name__
    return [Fault("", " ".join(message.split())[:300])]


def _without(message: str, secrets: set[str]) -> str:
    for secret in sorted(secrets - {""}, key=len, reverse=True):
        message = message.replace(repr(secret), HIDDEN).replace(secret, HIDDEN)
    return message


def _enum(value: object, kind: type[Enum]) -> Enum:
    for member in kind:
        if isinstance(value, str) and value.lower() == str(member.value).lower():
            return member
    raise Faulty(f"must be one of {', '.join(str(m.value) for m in kind)}")


def _boolean(value: object) -> bool:
    words = {"true": True, "1": True, "yes": True, "on": True}
    words |= {"false": False, "0": False, "no": False, "off": False}
    if isinstance(value, str) and value.lower() in words:
        return words[value.lower()]
    return expect(bool, value, "true or false")


def _whole(value: object) -> int:
    if isinstance(value, str):
        try:
            value = int(value)
        except ValueError:
            raise Faulty(f"must be a whole number, not {value!r}") from None
    return integer(value, least=-(2**53), most=2**53)


def _real(value: object) -> float:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise Faulty(f"must be a number, not {value!r}") from None
    return number(value, least=-1e15, most=1e15)


_SCALARS: Mapping[Any, Callable[[object], Any]] = {
    str: text,
    Path: lambda value: Path(text(str(value) if isinstance(value, Path) else value, least=1)),
    bool: _boolean,
    int: _whole,
    float: _real,
}
