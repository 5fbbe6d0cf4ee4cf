"""``flow-manager plugins``: what is installed, chosen, blocked and broken, and why."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import anyio
from attrs import frozen

from flow_manager_core.choice import Choice
from flow_manager_core.configuration import Configuration, read_configuration
from flow_manager_core.models import Fault
from flow_manager_core.picking import Picked
from flow_manager_core.plugins import PluginInfo, PluginStatus
from flow_manager_core.providers import Provider
from flow_manager_core.service import CONFIGURATION_EXIT, event_loop_options, tell_faults

#: The exit code when a plugin is broken that nothing was chosen of.
BROKEN_EXIT = 1


def list_plugins(
    given: Mapping[str, Any],
    environ: Mapping[str, str],
    say: Callable[[str], None],
    *,
    as_json: bool,
) -> int:
    """Print the list for the settings that ``serve`` would have, and return the exit code.

    Returns:
        2 if a setting is wrong, or if something that is chosen is not there while a plugin is
        broken; else 1 if a plugin is broken, else 0. Whatever ``serve`` would be refused for is
        told on standard error, one line a fault.
    """
    listing = Listing.made(read_configuration(given, environ))
    for line in listing.json_lines() if as_json else listing.lines():
        say(line)
    tell_faults(listing.faults)
    return listing.exit_code


@frozen
class Listing:
    """What is there and what of it is used."""

    configuration: Configuration
    picked: Picked

    @classmethod
    def made(cls, configuration: Configuration) -> Listing:
        """Choose as a service would, and ask the backends if need be."""
        choice = Choice(configuration.host, configuration.settings, configuration.provider_settings)
        return cls(configuration, anyio.run(choice.pick, backend_options=event_loop_options()))

    @property
    def faults(self) -> set[Fault]:
        """Why ``serve`` would be refused."""
        return {*self.configuration.faults, *self.picked.faults}

    @property
    def exit_code(self) -> int:
        """See `list_plugins`."""
        broken = self.configuration.host.broken
        if self.configuration.setting_faults or (broken and self.faults):
            return CONFIGURATION_EXIT
        return BROKEN_EXIT if broken else 0

    def lines(self) -> Iterator[str]:
        """One line a plugin, and one for each thing that it offers."""
        for info in self._infos():
            version = f"{info.distribution} {info.version}".rstrip()
            told = f"{info.name}  [{info.status}]  {version}"
            yield f"{told}  ({info.reason})" if info.reason else told
            for provider in info.provides:
                why = self._why(provider)
                told = f"    {provider.kind} {provider.name}: {provider.summary}"
                yield f"{told}  [{why}]" if why else told

    def json_lines(self) -> Iterator[str]:
        """The same for programs."""
        body = {
            "plugins": [self._plugin(info) for info in self._infos()],
            "faults": [
                {"field": fault.field, "message": fault.message} for fault in sorted_(self.faults)
            ],
        }
        yield json.dumps(body, indent=2)

    def _infos(self) -> list[PluginInfo]:
        order = [PluginStatus.LOADED, PluginStatus.BLOCKED, PluginStatus.BROKEN]
        infos = self.configuration.host.infos
        return sorted(infos, key=lambda info: (order.index(info.status), info.name))

    def _plugin(self, info: PluginInfo) -> dict[str, Any]:
        return {
            "name": info.name,
            "distribution": info.distribution,
            "version": info.version,
            "status": info.status.value,
            "chosen": any(provider in self.picked for provider in info.provides),
            "reason": info.reason,
            "provides": [
                {
                    "kind": provider.kind,
                    "name": provider.name,
                    "summary": provider.summary,
                    "chosen": provider in self.picked,
                    "reason": self._why(provider),
                }
                for provider in info.provides
            ],
        }

    def _why(self, provider: Provider) -> str:
        """Why a provider is chosen, or was passed over."""
        if provider in self.picked:
            setting = "frontends" if provider.kind == "frontend" else provider.kind
            value = getattr(self.configuration.settings, setting)
            value = ",".join(value) if isinstance(value, tuple) else value
            return f"chosen: {setting} = {value} ({self.configuration.origins[setting]})"
        if provider.kind == "backend" and provider.name in self.picked.unavailable:
            return f"not available: {self.picked.unavailable[provider.name]}"
        return ""


def sorted_(faults: set[Fault]) -> list[Fault]:
    """The faults in the order in which they are told."""
    return sorted(faults, key=lambda fault: (fault.field, fault.message))
