"""All plugins of one manager: which are loaded, blocked or broken, and their providers by name.

A broken plugin is set aside whole, with its cause. It stops the start only when a provider is
chosen that is not there.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from typing import TypeVar

from attrs import frozen

from flow_manager_core import builtin
from flow_manager_core.errors import ConfigurationError
from flow_manager_core.log import get_log
from flow_manager_core.models import Fault
from flow_manager_core.plugin_discovery import BUNDLED, Candidate, installed_plugins
from flow_manager_core.plugin_loading import PATIENCE, Loaded, load_plugin
from flow_manager_core.plugin_records import one_line
from flow_manager_core.providers import Provider

P = TypeVar("P", bound=Provider)


class PluginStatus(StrEnum):
    """What became of a plugin."""

    LOADED = "loaded"
    BLOCKED = "blocked"
    BROKEN = "broken"


@frozen
class PluginInfo:
    """One plugin, for people.

    Args:
        distribution: what brought it; what an operator uninstalls or upgrades.
        reason: why it is blocked or broken.
        provides: what it offers; empty where it is blocked or broken.
        wanted: kind and name of what a broken plugin would offer, as far as that is known.
    """

    name: str
    distribution: str
    version: str
    status: PluginStatus = PluginStatus.LOADED
    reason: str = ""
    provides: tuple[Provider, ...] = ()
    wanted: frozenset[tuple[str, str]] = frozenset()

    @property
    def told(self) -> str:
        """The plugin, its distribution, and what is the matter with it."""
        told = (
            f"{self.status}: {self.reason}" if self.status is PluginStatus.BROKEN else self.reason
        )
        return f"the plugin {self.name} ({self.distribution}) is {told}"

    def may_offer(self, kind: str, name: str) -> bool:
        """Whether a plugin that is not loaded looks as if it brought this provider."""
        if self.status is PluginStatus.LOADED:
            return False
        names = {_canonical(self.name), _canonical(self.distribution)}
        bundled = BUNDLED.get((kind, name), "")
        return (kind, name) in self.wanted or bool(names & {_canonical(name), bundled})


class PluginHost:
    """All plugins of one manager.

    Plugins are imported in threads of their own: make no host while a module is being imported that
    a plugin imports, or the two wait for each other until the plugin's time is over.

    Args:
        blocked: names of plugins or of their distributions that are not loaded.
        plugins: plugin objects besides the installed ones.
        installed: whether to load what is installed.
        patience: seconds for one plugin's import and hooks; one that takes longer is broken.
    """

    def __init__(
        self,
        blocked: Sequence[str] = (),
        plugins: Sequence[object] = (),
        *,
        installed: bool = True,
        patience: float = PATIENCE,
    ) -> None:
        self._blocked = {_canonical(name) for name in blocked}
        self._patience = patience
        self._infos: list[PluginInfo] = []
        core = importlib.metadata.version("flow-manager-core")
        self._load(PluginInfo("core", "flow-manager-core", core), lambda: builtin)
        for candidate in installed_plugins() if installed else ():
            self._load_installed(candidate)
        for number, plugin in enumerate(plugins, start=1):
            self._load_given(number, plugin)

    @property
    def infos(self) -> tuple[PluginInfo, ...]:
        """Every plugin, in the order of loading."""
        return tuple(self._infos)

    @property
    def broken(self) -> tuple[PluginInfo, ...]:
        """The plugins that were set aside because something is wrong with them."""
        return tuple(i for i in self._infos if i.status is PluginStatus.BROKEN)

    def providers(self, kind: type[P]) -> list[P]:
        """All providers of one kind, in the order of loading."""
        return [p for p in self.all_providers() if isinstance(p, kind)]

    def all_providers(self) -> Iterator[Provider]:
        """All providers of all kinds."""
        for info in self._infos:
            yield from info.provides

    def choose(self, kind: type[P], name: str) -> P:
        """Find a provider by name.

        Raises:
            ConfigurationError: it is not there; says what is, and what brings it.
        """
        for provider in self.providers(kind):
            if provider.name == name:
                return provider
        raise ConfigurationError([self.missing(kind, name)])

    def missing(self, kind: type[Provider], name: str) -> Fault:
        """Say why a provider is not there, and what brings it."""
        label = kind.kind.replace("_", " ")
        for info in self._infos:
            if info.may_offer(kind.kind, name):
                return Fault(kind.kind, f"the {label} {name!r} cannot be used: {info.told}")
        there = ", ".join(p.name for p in self.providers(kind)) or "none"
        told = [f"there is no {label} named {name!r}; installed: {there}"]
        if bundled := BUNDLED.get((kind.kind, name)):
            told.append(f"pip install {bundled}")
        # A plugin whose import failed did not get to say what it offers.
        told += [info.told for info in self.broken if not info.wanted]
        return Fault(kind.kind, "; ".join(told))

    def absent(self, section: str) -> PluginInfo | None:
        """Find a plugin that is not loaded and may have read this section of the settings."""
        for info in self._infos:
            if info.status is PluginStatus.LOADED:
                continue
            ours = {key for key, dist in BUNDLED.items() if dist == info.distribution}
            known = info.wanted or ours
            names = {n for kind, name in known for n in (name, f"{kind}_{name}")}
            if not known or section in names:
                return info
        return None

    def brought_by(self, provider: Provider) -> str:
        """Name the plugin and the distribution that a provider came from."""
        for info in self._infos:
            if provider in info.provides:
                return f"of the plugin {info.name} ({info.distribution})"
        return "that was given in code"

    def report(self) -> None:
        """Log every broken plugin."""
        for info in self.broken:
            get_log("plugins").warning(
                "A plugin is broken",
                plugin=info.name,
                distribution=info.distribution,
                reason=info.reason,
            )

    def _load_installed(self, candidate: Candidate) -> None:
        info = PluginInfo(candidate.name, candidate.distribution, candidate.version)
        if {_canonical(info.name), _canonical(info.distribution)} & self._blocked:
            self._add(info, PluginStatus.BLOCKED, "blocked by the settings")
            return
        if candidate.entry is None:
            self._add(info, PluginStatus.BROKEN, candidate.fault)
            return
        for other in self._infos:
            if other.name == info.name and other.status is not PluginStatus.BLOCKED:
                clash = f"{other.distribution} has a plugin of the same name; block one of them"
                self._add(info, PluginStatus.BROKEN, clash)
                return
        self._load(info, candidate.entry.load)

    def _load_given(self, number: int, plugin: object) -> None:
        name = getattr(plugin, "__name__", None)
        info = PluginInfo(str(name or f"plugin-{number}"), "(given in code)", "")
        self._load(info, lambda: plugin)

    def _load(self, info: PluginInfo, find: Callable[[], object]) -> None:
        loaded = load_plugin(info.name, find, self._patience)
        reason = loaded.reason or self._clash(loaded)
        status = PluginStatus.BROKEN if reason else PluginStatus.LOADED
        self._add(info, status, reason, loaded.provides)

    def _clash(self, loaded: Loaded) -> str:
        taken = {(p.kind, p.name): info for info in self._infos for p in info.provides}
        for provider in loaded.provides:
            other = taken.get((provider.kind, provider.name))
            if other:
                return (
                    f"offers a {provider.kind} named {provider.name!r}, as {other.name}"
                    f" ({other.distribution}) does; block one of them"
                )
        return ""

    def _add(
        self,
        info: PluginInfo,
        status: PluginStatus,
        reason: str,
        offered: Sequence[Provider] = (),
    ) -> None:
        loaded = status is PluginStatus.LOADED
        self._infos.append(
            PluginInfo(
                name=one_line(info.name),
                distribution=info.distribution,
                version=info.version,
                status=status,
                reason=reason,
                provides=tuple(offered) if loaded else (),
                wanted=frozenset() if loaded else frozenset((p.kind, p.name) for p in offered),
            )
        )


def _canonical(name: str) -> str:
    return name.lower().replace("_", "-")
