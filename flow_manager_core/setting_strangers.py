"""Names in the file and on the command line that no setting has, or more than one could have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from attrs import define, field, frozen

from flow_manager_core.models import Fault
from flow_manager_core.providers import Provider
from flow_manager_core.setting_names import CORE, PREFIX, Names
from flow_manager_core.setting_values import settings_fields

#: Says why nobody reads a section: a plugin that may do so is not loaded; empty: there is none.
Absent = Callable[[str], str]


@frozen
class _Given:
    """A name that somebody wrote.

    Args:
        inner: the field in the section; ``None`` for the section itself, or a plain setting.
        table: whether it is a section.
    """

    key: str
    inner: str | None
    table: bool
    origin: str


@define
class Strangers:
    """The search for them; finds `faults`, and in `notes` what could not be judged."""

    providers: Sequence[Provider]
    names: Names
    absent: Absent
    faults: list[Fault] = field(factory=list)
    notes: list[str] = field(factory=list)

    def look(
        self,
        command_line: Mapping[str, Any],
        environ: Mapping[str, str],
        file: Mapping[str, Any],
        file_path: str,
    ) -> None:
        """Look at every name that is given."""
        fields = {
            section: settings_fields(provider.settings_class).keys()
            for provider in self.providers
            for section in self.names.sections[provider.qualified]
        }
        for given in [*_of_file(file, file_path), *_of_command_line(command_line)]:
            if given.key in fields:
                self._inside(given, fields[given.key])
            elif given.key in self.names.unclear:
                self._unclear(given.key, given.origin)
            elif given.key not in CORE or given.inner is not None:
                self._stranger(given)
        for name in self.names.unclear:
            if environ.get(name):
                self._unclear(name, f"environment {name}")
        # No fault: who started us may use the prefix for something of their own.
        for name in sorted(environ.keys() - self.names.known_variables(self.providers)):
            if name.startswith(PREFIX):
                self.notes.append(f"{name} is in the environment, and no setting reads it")

    def _inside(self, given: _Given, fields: Any) -> None:
        if not given.table:
            self.faults.append(Fault(given.key, f"must be a section ({given.origin})"))
        elif given.inner is not None and given.inner not in fields:
            name = f"{given.key}.{given.inner}"
            self.faults.append(Fault(name, f"unknown setting ({given.origin})"))

    def _unclear(self, name: str, origin: str) -> None:
        meanings = " or ".join(self.names.unclear[name])
        fault = Fault(name, f"could mean {meanings}: write one of these ({origin})")
        if fault not in self.faults:
            self.faults.append(fault)

    def _stranger(self, given: _Given) -> None:
        if given.table and (why := self.absent(given.key)):
            note = f"[{given.key}] ({given.origin}) was not checked: {why}"
            self.notes += [] if note in self.notes else [note]
        elif given.table and given.inner is not None and given.origin != "command line":
            return  # told of the section already
        else:
            name = given.key if given.inner is None else f"{given.key}.{given.inner}"
            self.faults.append(Fault(name, f"unknown setting or section ({given.origin})"))


def _of_file(file: Mapping[str, Any], path: str) -> Iterator[_Given]:
    for key, value in file.items():
        table = isinstance(value, Mapping)
        # A setting of the manager that is written as a section is a fault of its type.
        yield _Given(key, None, table, path)
        if table and key not in CORE:
            for inner in value:
                yield _Given(key, str(inner), True, path)


def _of_command_line(command_line: Mapping[str, Any]) -> Iterator[_Given]:
    for name in sorted(command_line):
        key, dot, inner = name.partition(".")
        yield _Given(key, inner if dot else None, bool(dot), "command line")
