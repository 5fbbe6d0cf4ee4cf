"""Plugins: they are found, blocked and chosen; what is missing is named and can be installed."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import pytest

from flow_manager_core import PluginHost, hookimpl
from flow_manager_core.errors import ConfigurationError
from flow_manager_core.plugins import PluginStatus
from flow_manager_core.providers import (
    BackendProvider,
    FrontendProvider,
    RecoveryProvider,
    TransportProvider,
)


def plugin(**hooks: Callable[[], Any]) -> Any:
    module = types.ModuleType("mine")
    for name, hook in hooks.items():
        setattr(module, name, hookimpl(hook))
    return module


def policy(name: str) -> RecoveryProvider:
    return RecoveryProvider(name=name, factory=lambda _context: None)  # type: ignore[arg-type,return-value]


def host(*plugins: Any) -> PluginHost:
    return PluginHost(plugins=plugins, installed=False)


def status(found: PluginHost, name: str = "mine") -> tuple[PluginStatus, str]:
    info = next(info for info in found.infos if info.name == name)
    return info.status, info.reason


def test_a_plugin_given_in_code_is_used() -> None:
    found = host(plugin(flow_manager_recovery_policies=lambda: [policy("mine")]))
    assert found.choose(RecoveryProvider, "mine").name == "mine"
    assert status(found)[0] is PluginStatus.LOADED


@pytest.mark.parametrize(
    ("kind", "name", "told"),
    [
        (BackendProvider, "docker", "pip install flow-manager-docker"),
        (TransportProvider, "unix_socket", "pip install flow-manager-unix-socket"),
        (FrontendProvider, "socketio", "pip install flow-manager-socketio"),
        (RecoveryProvider, "backof", "installed: none"),
    ],
)
def test_a_choice_that_is_not_there_says_what_brings_it(kind: Any, name: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        host().choose(kind, name)


@pytest.mark.parametrize("name", ["backoff", "flow-manager-backoff", "flow_manager_backoff"])
def test_a_blocked_plugin_is_not_loaded_and_its_choice_says_why(name: str) -> None:
    found = PluginHost(blocked=[name])
    assert status(found, "backoff")[0] is PluginStatus.BLOCKED
    with pytest.raises(ConfigurationError, match="blocked by the settings"):
        found.choose(RecoveryProvider, "backoff")


def test_the_bundled_plugins_load() -> None:
    found = PluginHost()
    assert {info.name for info in found.infos if info.status is PluginStatus.LOADED} >= {
        "core",
        "backoff",
        "cli",
        "process",
        "unix_socket",
        "socketio",
        "docker",
    }
