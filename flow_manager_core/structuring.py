"""Strict structuring: outside data into attrs classes, with every fault named by its field.

cattrs by itself turns ``7`` into ``"7"`` and ``1`` into ``True``; here a value of a foreign type is
a fault. A check that belongs to one type of field raises `Faulty` with all that it found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, TypeVar, cast

import attrs
import cattrs
from cattrs.errors import (
    AttributeValidationNote,
    ClassValidationError,
    ForbiddenExtraKeysError,
    IterableValidationError,
    IterableValidationNote,
)

from flow_manager_core.models import Fault

T = TypeVar("T")


class Faulty(Exception):
    """Raised by a structure hook: all that is wrong with one value.

    Args:
        faults: `Fault.field` is relative to the value, empty for the value itself.
    """

    def __init__(self, *faults: Fault | str) -> None:
        super().__init__("faulty value")
        self.faults: tuple[Fault, ...] = tuple(
            Fault("", f) if isinstance(f, str) else f for f in faults
        )


def describe(value: object) -> str:
    """Name the JSON type of a value, for fault messages."""
    names = {type(None): "null", bool: "a boolean", str: "a string", dict: "an object"}
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return "a number"
    if isinstance(value, (list, tuple)):
        return "a list"
    return names.get(type(value), type(value).__name__)


def expect(kind: type[T], value: object, told: str) -> T:
    """Return the value if it is of the type; ``True`` is no number here.

    Raises:
        Faulty: it is not.
    """
    if isinstance(value, kind) and not (isinstance(value, bool) and kind is not bool):
        return value
    raise Faulty(f"must be {told}, not {describe(value)}")


def text(value: object, *, least: int = 0, most: int = 65536) -> str:
    """Return a string without NUL characters, of a length in characters within bounds."""
    found = value if type(value) is str else expect(str, value, "a string")
    if "\0" in found:
        raise Faulty("must not contain a NUL character")
    if not least <= len(found) <= most:
        raise Faulty(f"must have {least} to {most} characters, not {len(found)}")
    try:
        found.encode()
    except UnicodeEncodeError:
        raise Faulty("must be valid Unicode, without lone surrogates") from None
    return found


def number(value: object, *, least: float, most: float) -> float:
    """Return a finite number within bounds, both included."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Faulty(f"must be a number, not {describe(value)}")
    # Compared first: a whole number of JSON may be too large for a float. NaN is in no bounds.
    if not least <= value <= most:
        raise Faulty(f"must be from {least:g} to {most:g}, not {_in_short(value)}")
    return float(value)


def integer(value: object, *, least: int, most: int) -> int:
    """Return a whole number within bounds, both included."""
    found = expect(int, value, "a whole number")
    if not least <= found <= most:
        raise Faulty(f"must be from {least} to {most}, not {_in_short(found)}")
    return found


def _in_short(value: float) -> str:
    """A number as far as people read it; Python refuses to write one of 5,000 digits out."""
    if isinstance(value, int) and value.bit_length() > _READABLE:
        return f"a number of {value.bit_length()} bits"
    return str(value)


def mapping(
    value: object,
    check: Callable[[str, object], T],
    *,
    most: int = 1000,
) -> dict[str, T]:
    """Return an object with each item checked; the faults of all items are raised together."""
    found = expect(dict, value, "an object")
    if len(found) > most:
        raise Faulty(f"must have at most {most} entries, not {len(found)}")
    result: dict[str, T] = {}
    faults: list[Fault] = []
    for key, item in found.items():
        try:
            result[key] = check(key, item)
        except Faulty as fault:
            faults += nested(key, fault.faults)
    if faults:
        raise Faulty(*faults)
    return result


def sequence(
    value: object, check: Callable[[object], T], *, least: int = 0, most: int = 1000
) -> tuple[T, ...]:
    """Return a list with each item checked; the faults of all items are raised together."""
    found = expect(list, list(value) if isinstance(value, tuple) else value, "a list")
    if not least <= len(found) <= most:
        raise Faulty(f"must have {least} to {most} entries, not {len(found)}")
    entries = mapping({str(n): item for n, item in enumerate(found)}, lambda _k, v: check(v))
    return tuple(entries.values())


def nested(prefix: str, faults: Sequence[Fault]) -> list[Fault]:
    """Put a prefix before the fields of faults that were found further inside."""
    return [Fault(f"{prefix}.{f.field}" if f.field else prefix, f.message) for f in faults]


def faults_of(error: BaseException, prefix: str = "") -> list[Fault]:
    """Flatten what cattrs raised into one list of faults, each with the path of its field."""
    if isinstance(error, (ClassValidationError, IterableValidationError)):
        found: list[Fault] = []
        for inner in error.exceptions:
            found += faults_of(inner, _path(prefix, inner))
        return found
    if isinstance(error, Faulty):
        return nested(prefix, error.faults) if prefix else list(error.faults)
    if isinstance(error, ForbiddenExtraKeysError):
        extra = [name or '""' for name in sorted(error.extra_fields)]
        return [Fault(f"{prefix}.{k}" if prefix else k, "unknown field") for k in extra]
    if isinstance(error, KeyError):
        return [Fault(prefix or str(error.args[0]), "required field is missing")]
    raise error


def _path(prefix: str, error: BaseException) -> str:
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            return f"{prefix}.{note.name}" if prefix else note.name
        if isinstance(note, IterableValidationNote):
            return f"{prefix}.{note.index}" if prefix else str(note.index)
    return prefix


#: Bits of the largest whole number that is written out.
_READABLE = 256
_PLAIN: dict[type, Callable[[object], Any]] = {
    str: text,
    bool: lambda value: expect(bool, value, "true or false"),
    int: lambda value: integer(value, least=-(2**53), most=2**53),
    float: lambda value: number(value, least=-1e15, most=1e15),
}


def strict_converter(*enums: type[Enum]) -> cattrs.Converter:
    """Make a converter that takes the types of JSON as they are and forbids unknown fields.

    Args:
        enums: those that fields use; cattrs would take an enum of texts for any text.
    """
    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=True)
    for kind, check in _PLAIN.items():
        converter.register_structure_hook(kind, as_hook(check))
    for enum in enums:
        converter.register_structure_hook(enum, _structure_enum)
    converter.register_structure_hook_factory(attrs.has, _attrs_hook_factory(converter))
    return converter


def as_hook(check: Callable[[object], Any]) -> Callable[[object, Any], Any]:
    """Make a structure hook of a check."""
    return lambda value, _type: check(value)


def _structure_enum(value: object, kind: type[Enum]) -> Enum:
    known = [member.value for member in kind]
    if not isinstance(value, str) or value not in known:
        raise Faulty(f"must be one of {', '.join(known)}")
    return kind(value)


def _attrs_hook_factory(converter: cattrs.Converter) -> Callable[[Any], Callable[..., Any]]:
    def factory(kind: Any) -> Callable[..., Any]:
        inner = cattrs.gen.make_dict_structure_fn(
            kind,
            converter,
            _cattrs_forbid_extra_keys=True,
            _cattrs_detailed_validation=True,
        )

        def structure(value: object, _type: Any) -> Any:
            found = expect(dict, value, "an object")
            strange = [Fault(repr(k), "keys must be strings") for k in found if type(k) is not str]
            if strange:
                raise Faulty(*strange)
            return inner(cast("Any", found), kind)

        return structure

    return factory
