"""A plugin's module, with every hook."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_type

import backend
import frontend
import policies
import transport

import flow_manager_core as fm
from flow_manager_core.plugins import PluginInfo


@fm.hookimpl
def flow_manager_container_backends() -> Sequence[fm.BackendProvider]:
    return [backend.PROVIDER]


@fm.hookimpl
def flow_manager_transports() -> Sequence[fm.TransportProvider]:
    return [transport.PROVIDER]


@fm.hookimpl(tryfirst=True)
def flow_manager_recovery_policies() -> list[fm.RecoveryProvider]:
    return [policies.PROVIDERS[0]]


@fm.hookimpl
def flow_manager_error_formats() -> tuple[fm.ErrorFormatProvider, ...]:
    return (policies.PROVIDERS[1],)


@fm.hookimpl
def flow_manager_frontends() -> Sequence[fm.FrontendProvider]:
    return [frontend.PROVIDER]


# The decorator leaves a function as it was.
assert_type(flow_manager_container_backends(), Sequence[fm.BackendProvider])
assert_type(flow_manager_recovery_policies(), list[fm.RecoveryProvider])

host = fm.PluginHost(plugins=[object()], installed=False)
assert_type(host.choose(fm.RecoveryProvider, "patient"), fm.RecoveryProvider)
assert_type(host.providers(fm.TransportProvider), list[fm.TransportProvider])
assert_type(host.infos, tuple[PluginInfo, ...])

flow_manager_frontends(1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
fm.hookimpl(first=True)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
host.choose(int, "patient")  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
