"""Reads settings: command line, then environment, then a file, then the default.

Every value keeps where it came from, and every fault of every source is told at once.
typed-settings was tried for this: it stops at the first fault and cannot name several variables
for one field.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from attrs import define, field, frozen

from flow_manager_core.errors import ConfigurationError
from flow_manager_core.models import Fault
from flow_manager_core.providers import Provider
from flow_manager_core.setting_display import SettingRow, shown
from flow_manager_core.setting_names import CONFIG_VARIABLES, Names, variable
from flow_manager_core.setting_strangers import Absent, Strangers
from flow_manager_core.setting_values import (
    build_settings,
    is_secret,
    settings_fields,
    structure_setting,
)
from flow_manager_core.settings import Settings
from flow_manager_core.settings_check import settings_faults
from flow_manager_core.settings_file import read_settings_file
from flow_manager_core.structuring import Faulty

DEFAULT = "default"


@frozen
class _Found:
    """A value and where it came from."""

    value: Any
    origin: str


@frozen
class _Place:
    """Where one field's value may stand: options of the command line, variables, tables."""

    options: Sequence[str]
    variables: Sequence[str]
    tables: Sequence[Mapping[str, Any]]


@frozen
class _Section:
    """One settings class, and what was found for it.

    Args:
        name: how its section is shown; empty for the manager's own settings.
        origins: of each field.
    """

    kind: type
    name: str = ""
    values: dict[str, Any] = field(factory=dict)
    origins: dict[str, str] = field(factory=dict)

    def told(self, fault: Fault) -> Fault:
        """The fault of a field, with its section and the value's origin."""
        whole = ".".join(part for part in (self.name, fault.field) if part)
        origin = self.origins.get(fault.field, DEFAULT)
        return Fault(whole, fault.message if origin == DEFAULT else f"{fault.message} ({origin})")

    def rows(self, settings: Any) -> list[SettingRow]:
        """What may be shown of an instance."""
        return [
            SettingRow(
                self.name,
                name,
                shown(getattr(settings, name), secret=is_secret(attribute)),
                self.origins[name],
                is_secret(attribute),
            )
            for name, (attribute, _) in settings_fields(self.kind).items()
        ]


@define
class Sources:
    """The outside world that settings are read from.

    Args:
        command_line: field names to values; texts are read as in the environment. A provider's
            field is written ``<section>.<field>``.
        environ: the environment.
        file: the file's content, and its path for messages.
        faults: all that was found wrong so far.
        rows: all that was read so far, for people.
        notes: what could not be checked, for the log.
    """

    command_line: Mapping[str, Any]
    environ: Mapping[str, str]
    file: Mapping[str, Any]
    file_path: str
    faults: list[Fault] = field(factory=list)
    rows: list[SettingRow] = field(factory=list)
    notes: list[str] = field(factory=list)

    @classmethod
    def read(cls, command_line: Mapping[str, Any], environ: Mapping[str, str]) -> Sources:
        """Find and read the configuration file, if one is named."""
        rest = dict(command_line)
        path = rest.pop("config_file", None) or next(
            (environ[name] for name in CONFIG_VARIABLES if environ.get(name)), None
        )
        content, faults = read_settings_file(Path(path)) if path else ({}, [])
        given = {name: value for name, value in rest.items() if value is not None}
        return cls(given, environ, content, str(path or ""), faults)

    @property
    def origins(self) -> dict[str, str]:
        """Where each setting came from; a provider's is ``<section>.<field>``."""
        return {f"{r.section}.{r.name}" if r.section else r.name: r.origin for r in self.rows}

    def check(self) -> None:
        """Refuse what was found wrong.

        Raises:
            ConfigurationError: with every fault.
        """
        if self.faults:
            raise ConfigurationError(self.faults)

    def core(self) -> Settings:
        """The manager's own settings; where there are `faults`, with defaults in their places."""

        def place(attribute: attrs.Attribute[Any]) -> _Place:
            variables = [variable("", attribute.name), *attribute.metadata.get("env", ())]
            return _Place([attribute.name], variables, [self.file])

        section = self._find_all(_Section(Settings), place)
        settings = Settings(**section.values)
        self.faults += [section.told(fault) for fault in settings_faults(settings)]
        self.rows += section.rows(settings)
        return settings

    def providers(
        self, providers: Sequence[Provider], absent: Absent = lambda _section: ""
    ) -> dict[str, Any]:
        """The settings of the providers by qualified name; without those that have `faults`.

        Args:
            absent: why a section that nobody reads is no fault.
        """
        names = Names.of(providers)
        found = {p.qualified: self._of_provider(p, names) for p in providers}
        strangers = Strangers(providers, names, absent)
        strangers.look(self.command_line, self.environ, self.file, self.file_path)
        self.faults += strangers.faults
        self.notes += strangers.notes
        return {name: settings for name, settings in found.items() if settings is not None}

    def _of_provider(self, provider: Provider, names: Names) -> Any:
        sections = names.sections[provider.qualified]
        tables = [t for s in sections if isinstance(t := self.file.get(s), Mapping)]

        def place(attribute: attrs.Attribute[Any]) -> _Place:
            options = [f"{section}.{attribute.name}" for section in sections]
            return _Place(options, names.variables(provider, attribute.name), tables)

        kind = provider.settings_class
        section = self._find_all(_Section(kind, sections[0]), place)
        settings, faults = build_settings(kind, section.values)
        self.faults += [section.told(fault) for fault in faults]
        self.rows += section.rows(kind() if settings is None else settings)
        return settings

    def _find_all(
        self, section: _Section, place: Callable[[attrs.Attribute[Any]], _Place]
    ) -> _Section:
        """Find and structure every field that is given, and note where each came from."""
        for name, (attribute, annotation) in settings_fields(section.kind).items():
            found = self._find(name, place(attribute))
            section.origins[name] = found.origin if found else DEFAULT
            if found is None:
                continue
            try:
                section.values[name] = structure_setting(found.value, annotation)
            except Faulty as error:
                secret = is_secret(attribute)
                for fault in error.faults:
                    told = "is not of the right type" if secret else fault.message
                    self.faults.append(section.told(Fault(name, told)))
        return section

    def _find(self, name: str, place: _Place) -> _Found | None:
        for option in place.options:
            if option in self.command_line:
                return _Found(self.command_line[option], "command line")
        for one in place.variables:
            if self.environ.get(one):
                return _Found(self.environ[one], f"environment {one}")
        for table in place.tables:
            if name in table:
                return _Found(table[name], self.file_path)
        return None
