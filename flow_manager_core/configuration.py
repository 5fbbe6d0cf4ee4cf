"""Everything that a service starts from: settings, plugins, and all that is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import evolve, frozen

from flow_manager_core.errors import ConfigurationError
from flow_manager_core.keys import find_keys
from flow_manager_core.models import Fault
from flow_manager_core.picking import pick_named
from flow_manager_core.plugins import PluginHost
from flow_manager_core.setting_display import SettingRow
from flow_manager_core.settings import Settings
from flow_manager_core.sources import DEFAULT, Sources

DEFAULT_FRONTENDS = ("socketio",)


@frozen(kw_only=True)
class Configuration:
    """What was read from outside.

    Args:
        provider_settings: by qualified name.
        origins: where each setting came from.
        rows: every setting as it may be shown.
        setting_faults: settings that cannot be.
        choice_faults: choices of providers that are not there.
        notes: what could not be checked, for the log.
        cautions: what is less safe than it could be, for the log.
    """

    settings: Settings
    host: PluginHost
    provider_settings: Mapping[str, Any]
    origins: Mapping[str, str]
    rows: tuple[SettingRow, ...] = ()
    setting_faults: tuple[Fault, ...] = ()
    choice_faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Why no service can start from it; empty where one can."""
        return (*self.setting_faults, *self.choice_faults)


def read_configuration(
    command_line: Mapping[str, Any], environ: Mapping[str, str]
) -> Configuration:
    """Read all settings and load the plugins; faulty settings are at their defaults.

    Backends are not asked whether they are available.
    """
    sources = Sources.read(command_line, environ)
    settings = sources.core()
    if not settings.frontends:
        settings = evolve(settings, frontends=DEFAULT_FRONTENDS)
    host = PluginHost(settings.blocked_plugins)

    def absent(section: str) -> str:
        info = host.absent(section)
        return info.told if info else ""

    provider_settings = sources.providers(list(host.all_providers()), absent)
    keys = find_keys(settings, kept=True)
    return Configuration(
        settings=settings,
        host=host,
        provider_settings=provider_settings,
        origins=sources.origins,
        rows=tuple(_served(row, settings) for row in sources.rows),
        setting_faults=(*sources.faults, *keys.faults),
        choice_faults=pick_named(host, settings).faults,
        notes=tuple(sources.notes),
        cautions=tuple(keys.cautions),
    )


def configure(command_line: Mapping[str, Any], environ: Mapping[str, str]) -> Configuration:
    """Read all settings and load the plugins.

    Raises:
        ConfigurationError: with every fault.
    """
    found = read_configuration(command_line, environ)
    if found.faults:
        raise ConfigurationError(found.faults)
    return found


def _served(row: SettingRow, settings: Settings) -> SettingRow:
    """Show the frontends that a service has although none was set."""
    if (row.section, row.name, row.origin) == ("", "frontends", DEFAULT):
        return evolve(row, value=list(settings.frontends))
    return row
