"""What ``flow-manager plugins`` prints."""

from __future__ import annotations

from collections.abc import Iterator

from flow_manager_core.plugins import PluginHost, PluginInfo, PluginStatus


def plugin_lines(host: PluginHost) -> Iterator[str]:
    """One line a plugin, and one for each thing that it offers."""
    for info in sorted(host.infos, key=lambda info: (info.status, info.name)):
        yield _headline(info)
        for provider in info.provides:
            yield f"    {provider.kind} {provider.name}: {provider.summary}"


def _headline(info: PluginInfo) -> str:
    told = f"{info.name}  [{info.status}]  {info.distribution} {info.version}".rstrip()
    return told if info.status is PluginStatus.LOADED else f"{told}  ({info.reason})"
