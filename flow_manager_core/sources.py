"""Reads settings: command line, then environment, then a file, then the default.

Every value keeps where it came from, and every fault of every source is told at once.
typed-settings was tried for this: it stops at the first fault and cannot name several variables
for one field.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import attrs
from attrs import define, field, frozen

from flow_manager_core.errors import ConfigurationError
from flow_manager_core.models import Fault
from flow_manager_core.providers import Provider
from flow_manager_core.settings import Settings
from flow_manager_core.settings_check import settings_faults
from flow_manager_core.structuring import Faulty, expect, integer, number, sequence, text

T = TypeVar("T")

PREFIX = "FLOW_MANAGER_"
CONFIG_VARIABLES = ("FLOW_MANAGER_CONFIG_FILE", "CONFIG_FILE")
DEFAULT = "default"


@frozen
class Found:
    """A value and where it came from."""

    value: Any
    origin: str


@define
class Sources:
    """The outside world that settings are read from.

    Args:
        command_line: field names to values; texts are read as in the environment. A provider's
            field is written ``<provider>.<field>``.
        environ: the environment.
        file: the file's content, and its path for messages.
    """

    command_line: Mapping[str, Any]
    environ: Mapping[str, str]
    file: Mapping[str, Any]
    file_path: str
    origins: dict[str, str] = field(factory=dict)

    @classmethod
    def read(cls, command_line: Mapping[str, Any], environ: Mapping[str, str]) -> Sources:
        """Find and read the configuration file, if one is named.

        Raises:
            ConfigurationError: it cannot be read or is neither TOML nor JSON.
        """
        rest = dict(command_line)
        path = rest.pop("config_file", None) or next(
            (environ[name] for name in CONFIG_VARIABLES if environ.get(name)), None
        )
        content = _read_file(Path(path)) if path else {}
        return cls(rest, environ, content, str(path or ""))

    def core(self) -> Settings:
        """The manager's own settings.

        Raises:
            ConfigurationError: with every fault of every field.
        """
        values, faults = self._fields(Settings, section="", known=self.file)
        if not faults:
            settings = Settings(**values)
            faults = settings_faults(settings)
            if not faults:
                return settings
        raise ConfigurationError(faults)

    def providers(self, providers: list[Provider]) -> dict[str, Any]:
        """The settings of every provider, by name.

        Raises:
            ConfigurationError: with every fault, unknown keys and sections among them.
        """
        faults: list[Fault] = []
        result: dict[str, Any] = {}
        for provider in providers:
            section = self.file.get(provider.name, {})
            if not isinstance(section, Mapping):
                faults.append(Fault(provider.name, f"must be a section ({self.file_path})"))
                continue
            values, found = self._fields(
                provider.settings_class, section=provider.name, known=section
            )
            faults += found
            if not found:
                try:
                    result[provider.name] = provider.settings_class(**values)
                except ValueError as error:  # a validator's word on a value or their combination
                    faults.append(Fault(provider.name, str(error.args[0])))
        faults += self._unknown({provider.name: provider for provider in providers})
        if faults:
            raise ConfigurationError(faults)
        return result

    def _fields(
        self, kind: type, *, section: str, known: Mapping[str, Any]
    ) -> tuple[dict[str, Any], list[Fault]]:
        hints = get_type_hints(kind)
        values: dict[str, Any] = {}
        faults: list[Fault] = []
        for attribute in attrs.fields(kind):
            name = f"{section}.{attribute.name}" if section else attribute.name
            found = self._find(name, attribute, section, known)
            self.origins[name] = found.origin if found else DEFAULT
            if found is None:
                continue
            try:
                values[attribute.name] = structure_setting(found.value, hints[attribute.name])
            except Faulty as error:
                faults += [Fault(name, f"{f.message} ({found.origin})") for f in error.faults]
        return values, faults

    def _find(
        self, name: str, attribute: attrs.Attribute[Any], section: str, known: Mapping[str, Any]
    ) -> Found | None:
        if self.command_line.get(name) is not None:
            return Found(self.command_line[name], "command line")
        middle = f"{section.upper()}_" if section else ""
        bare = attribute.metadata.get("env", ())
        for variable in (f"{PREFIX}{middle}{attribute.name.upper()}", *bare):
            if self.environ.get(variable):
                return Found(self.environ[variable], f"environment {variable}")
        if attribute.name in known:
            return Found(known[attribute.name], self.file_path)
        return None

    def _unknown(self, providers: Mapping[str, Provider]) -> list[Fault]:
        core = {a.name for a in attrs.fields(Settings)}
        faults = []
        for key, value in self.file.items():
            if key in core:
                continue
            provider = providers.get(key)
            if provider is None or not isinstance(value, Mapping):
                faults.append(Fault(key, f"unknown setting or section ({self.file_path})"))
                continue
            fields = {a.name for a in attrs.fields(provider.settings_class)}
            faults += [
                Fault(f"{key}.{inner}", f"unknown setting ({self.file_path})")
                for inner in value
                if inner not in fields
            ]
        given = {k for k in self.command_line if k not in self.origins}
        return faults + [Fault(k, "unknown setting (command line)") for k in sorted(given)]


def _read_file(path: Path) -> Mapping[str, Any]:
    try:
        raw = path.read_bytes()
        found = json.loads(raw) if path.suffix == ".json" else tomllib.loads(raw.decode())
    except OSError as error:
        raise ConfigurationError([Fault(str(path), f"cannot be read: {error.strerror}")]) from None
    except ValueError as error:
        kind = "JSON" if path.suffix == ".json" else "TOML"
        raise ConfigurationError([Fault(str(path), f"is not {kind}: {error}")]) from None
    if not isinstance(found, dict):
        raise ConfigurationError([Fault(str(path), "must hold an object")])
    return found


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
    if isinstance(kind, UnionType):
        kind = next(one for one in get_args(kind) if one is not type(None))
        return structure_setting(value, kind)
    if kind not in _SCALARS:
        raise Faulty(f"is of a type that settings cannot have: {kind}")
    return _SCALARS[kind](value)


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
