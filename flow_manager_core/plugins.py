"""The one owner of pluggy: loads, blocks and validates plugins, and chooses providers by name.

A broken plugin is set aside with its cause. It stops the start only when a provider is chosen that
is not there.
"""

from __future__ import annotations

import importlib.metadata
import inspect
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Any, TypeVar

import pluggy
from attrs import define, field

from flow_manager_core import builtin, hookspecs
from flow_manager_core.errors import ConfigurationError
from flow_manager_core.hookspecs import PROJECT
from flow_manager_core.log import get_log
from flow_manager_core.models import Fault
from flow_manager_core.providers import (
    BackendProvider,
    ErrorFormatProvider,
    FrontendProvider,
    Provider,
    RecoveryProvider,
    TransportProvider,
)

P = TypeVar("P", bound=Provider)

#: Hook to the class of the records that it returns.
HOOKS: dict[str, type[Provider]] = {
    "flow_manager_container_backends": BackendProvider,
    "flow_manager_transports": TransportProvider,
    "flow_manager_recovery_policies": RecoveryProvider,
    "flow_manager_error_formats": ErrorFormatProvider,
    "flow_manager_frontends": FrontendProvider,
}

#: The distribution that brings each bundled provider, for the hint when it is missing.
BUNDLED = {
    ("backend", "docker"): "flow-manager-docker",
    ("backend", "process"): "flow-manager-process",
    ("transport", "unix_socket"): "flow-manager-unix-socket",
    ("transport", "tcp"): "flow-manager-tcp",
    ("recovery", "backoff"): "flow-manager-backoff",
    ("recovery", "intensity"): "flow-manager-intensity",
    ("error_format", "problem"): "flow-manager-problem",
    ("frontend", "socketio"): "flow-manager-socketio",
    ("frontend", "rabbitmq"): "flow-manager-rabbitmq",
}


class PluginStatus(StrEnum):
    """What became of a plugin."""

    LOADED = "loaded"
    BLOCKED = "blocked"
    BROKEN = "broken"


@define
class PluginInfo:
    """One plugin, for people."""

    name: str
    distribution: str
    version: str
    status: PluginStatus
    reason: str = ""
    provides: list[Provider] = field(factory=list)


class PluginHost:
    """All plugins of one manager.

    Args:
        blocked: names of plugins or of their distributions that are not loaded.
        plugins: plugin objects besides the installed ones.
        installed: whether to load what is installed.
    """

    def __init__(
        self, blocked: Sequence[str] = (), plugins: Sequence[object] = (), *, installed: bool = True
    ) -> None:
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._blocked = {_canonical(name) for name in blocked}
        self._log = get_log("plugins")
        self.infos: list[PluginInfo] = []
        version = importlib.metadata.version("flow-manager-core")
        self._register("core", builtin, PluginInfo("core", "flow-manager-core", version, _LOADED))
        if installed:
            self._load_installed()
        for number, plugin in enumerate(plugins, start=1):
            name = getattr(plugin, "__name__", f"plugin-{number}")
            self._register(name, plugin, PluginInfo(name, "(given in code)", "", _LOADED))

    def providers(self, kind: type[P]) -> list[P]:
        """All providers of one kind, in the order of loading."""
        return [p for info in self.infos for p in info.provides if isinstance(p, kind)]

    def all_providers(self) -> Iterator[Provider]:
        """All providers of all kinds."""
        for info in self.infos:
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
        bundled = BUNDLED.get((kind.kind, name))
        for info in self.infos:
            if info.status is not PluginStatus.LOADED and {name, bundled} & {
                info.name,
                info.distribution,
            }:
                return Fault(
                    kind.kind,
                    f"the {label} {name!r} cannot be used: the plugin {info.name}"
                    f" ({info.distribution}) is {info.status}: {info.reason}",
                )
        there = ", ".join(p.name for p in self.providers(kind)) or "none"
        told = f"there is no {label} named {name!r}; installed: {there}"
        return Fault(kind.kind, f"{told}; pip install {bundled}" if bundled else told)

    def _load_installed(self) -> None:
        seen: dict[str, str] = {}
        for entry in sorted(_entry_points(), key=lambda e: e.name):
            distribution = entry.dist.name if entry.dist else "unknown"
            version = entry.dist.version if entry.dist else ""
            info = PluginInfo(entry.name, distribution, version, _LOADED)
            if {_canonical(entry.name), _canonical(distribution)} & self._blocked:
                self._set_aside(info, PluginStatus.BLOCKED, "blocked by the settings")
            elif entry.name in seen:
                clash = f"{seen[entry.name]} has a plugin of the same name"
                self._set_aside(info, PluginStatus.BROKEN, clash)
            else:
                seen[entry.name] = distribution
                self._load(entry, info)

    def _load(self, entry: importlib.metadata.EntryPoint, info: PluginInfo) -> None:
        try:
            plugin = entry.load()
        except (Exception, SystemExit) as error:  # noqa: BLE001  # a plugin may do anything
            self._set_aside(info, PluginStatus.BROKEN, f"cannot be imported: {_told(error)}")
        else:
            self._register(entry.name, plugin, info)

    def _register(self, name: str, plugin: object, info: PluginInfo) -> None:
        try:
            self._manager.register(plugin, name)
            self._manager.check_pending()
            found = list(self._collect(plugin))
        except (Exception, SystemExit) as error:  # noqa: BLE001  # a plugin may do anything
            if self._manager.is_registered(plugin):
                self._manager.unregister(plugin)
            self._set_aside(info, PluginStatus.BROKEN, _told(error))
            return
        clash = self._clash(found)
        if clash:
            self._set_aside(info, PluginStatus.BROKEN, clash)
            return
        info.provides = found
        self.infos.append(info)

    def _collect(self, plugin: object) -> Iterator[Provider]:
        """Call the plugin's hooks, and take only what the specification promises.

        Each plugin's own implementations are called apart from all others': pluggy would end the
        whole call at the first one that raises.
        """
        for hook, kind in HOOKS.items():
            caller = self._manager.subset_hook_caller(
                hook, [p for p in self._manager.get_plugins() if p is not plugin]
            )
            for result in caller():
                yield from _checked(hook, kind, result)

    def _clash(self, found: Iterable[Provider]) -> str:
        taken = {(p.kind, p.name): info for info in self.infos for p in info.provides}
        for provider in found:
            other = taken.get((provider.kind, provider.name))
            if other:
                return (
                    f"offers a {provider.kind} named {provider.name!r}, as {other.name}"
                    f" ({other.distribution}) does; block one of them"
                )
        return ""

    def _set_aside(self, info: PluginInfo, status: PluginStatus, reason: str) -> None:
        info.status, info.reason = status, reason
        self.infos.append(info)
        if status is PluginStatus.BROKEN:
            self._log.warning(
                "A plugin is broken",
                plugin=info.name,
                distribution=info.distribution,
                reason=reason,
            )


_LOADED = PluginStatus.LOADED


def _entry_points() -> Iterable[importlib.metadata.EntryPoint]:
    return importlib.metadata.entry_points(group=PROJECT)


def _canonical(name: str) -> str:
    return name.lower().replace("_", "-")


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:300]


def _checked(hook: str, kind: type[Provider], result: Any) -> Iterator[Provider]:
    if inspect.iscoroutine(result):
        result.close()
        raise TypeError(f"{hook} is async; hooks are plain functions")
    if not isinstance(result, (list, tuple)):
        raise TypeError(f"{hook} returned {type(result).__name__}, not a list of {kind.__name__}")
    for provider in result:
        if not isinstance(provider, kind):
            found = type(provider).__name__
            raise TypeError(f"{hook} returned a {found} where a {kind.__name__} belongs")
        yield provider
