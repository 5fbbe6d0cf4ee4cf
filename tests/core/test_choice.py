"""The start is refused for what was chosen alone, in one readable line; all else goes on."""

from __future__ import annotations

import logging
import types
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from attrs import frozen

from flow_manager_core import FlowManager, PluginHost, Settings, hookimpl
from flow_manager_core.choice import Choice
from flow_manager_core.errors import ConfigurationError, EngineUnavailable
from flow_manager_core.models import Fault
from flow_manager_core.providers import (
    BackendProvider,
    ErrorFormatProvider,
    FrontendProvider,
    JournalProvider,
    ProviderContext,
    RecoveryProvider,
    TransportProvider,
)
from flow_manager_core.testing.memory_backend import memory_provider
from flow_manager_core.testing.memory_transport import MemoryNetwork, memory_transport_provider

pytestmark = pytest.mark.anyio


def plugin(**hooks: Any) -> Any:
    module = types.ModuleType("mine")
    for name, records in hooks.items():
        setattr(module, f"flow_manager_{name}", hookimpl(lambda records=records: records))
    return module


def manager(*plugins: Any, **changes: Any) -> FlowManager:
    given: dict[str, Any] = {
        "backend": memory_provider(),
        "transport": memory_transport_provider(MemoryNetwork()),
        **changes,
    }
    settings = Settings(**{"journal": "memory", **given.pop("settings", {})})
    return FlowManager(settings, host=PluginHost(plugins=plugins, installed=False), **given)


async def refusal(house: FlowManager) -> tuple[Fault, ...]:
    with pytest.raises(ConfigurationError) as caught:
        async with house:
            raise AssertionError("it started")
    assert all(fault.message.isprintable() for fault in caught.value.faults)
    return caught.value.faults


def _raises(*_arguments: Any) -> Any:
    raise ImportError("no module named 'colour'\nsecond line")


@asynccontextmanager
async def _raises_on_entering(*_arguments: Any) -> AsyncIterator[Any]:
    async with anyio.create_task_group():
        raise ZeroDivisionError("later")
    yield


def _exits(*_arguments: Any) -> Any:
    raise SystemExit(3)


@pytest.mark.parametrize("factory", [_raises, _raises_on_entering, _exits])
@pytest.mark.parametrize(
    ("hook", "kind"),
    [
        ("container_backends", BackendProvider),
        ("transports", TransportProvider),
        ("frontends", FrontendProvider),
        ("journals", JournalProvider),
    ],
)
async def test_a_chosen_provider_that_cannot_start_is_named_with_where_it_came_from(
    hook: str, kind: Any, factory: Any
) -> None:
    name = kind.kind
    setting = {"frontends": ("bad",)} if name == "frontend" else {name: "bad"}
    mine = plugin(**{hook: [kind(name="bad", factory=factory)]})
    house = manager(mine, **({} if name == "frontend" else {name: None}), settings=setting)
    (fault,) = await refusal(house)
    assert fault.field == name
    assert "'bad' of the plugin mine ((given in code)) cannot be started: " in fault.message


@pytest.mark.parametrize(
    ("hook", "kind"),
    [("recovery_policies", RecoveryProvider), ("error_formats", ErrorFormatProvider)],
)
async def test_a_chosen_policy_or_format_that_cannot_be_made_is_named(hook: str, kind: Any) -> None:
    mine = plugin(**{hook: [kind(name="bad", factory=_raises)]})
    (fault,) = await refusal(manager(mine, settings={kind.kind: "bad"}))
    assert "ImportError: no module named 'colour' second line" in fault.message


async def test_a_failure_that_has_a_name_keeps_it() -> None:
    @asynccontextmanager
    async def away(_context: ProviderContext) -> AsyncIterator[Any]:
        raise EngineUnavailable("not today")
        yield

    with pytest.raises(EngineUnavailable, match="not today"):
        async with manager(backend=BackendProvider(name="away", factory=away)):
            raise AssertionError("it started")


async def test_a_failure_of_the_host_inside_is_not_blamed_on_a_provider() -> None:
    with pytest.raises(ZeroDivisionError):
        async with manager():
            raise ZeroDivisionError


async def test_the_house_starts_with_every_plugin_broken_that_was_not_chosen(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def hook() -> Any:
        raise SystemExit("boom")

    broken = types.ModuleType("broken")
    broken.flow_manager_transports = hookimpl(hook)  # type: ignore[attr-defined]
    house = manager(broken, plugin(frontends=[FrontendProvider(name="bad", factory=_raises)]))
    with caplog.at_level(logging.WARNING, "flow_manager"):
        async with house:
            assert await house.execute("list_containers", {}) == {"containers": [], "count": 0}
    assert "A plugin is broken, plugin=broken" in caplog.text
    assert "SystemExit: boom" in caplog.text


async def test_faults_of_settings_and_of_choices_come_together() -> None:
    house = manager(transport=None, settings={"port": -1, "recovery": "patience"})
    assert {f.field for f in await refusal(house)} == {"port", "transport", "recovery"}


async def _probe_raises(_context: Any) -> str | None:
    raise SystemExit("probe")


async def _probe_says_no(_context: Any) -> str | None:
    return "not\nhere"


async def _probe_says_yes(_context: Any) -> str | None:
    return None


async def test_a_probe_that_fails_passes_its_backend_over() -> None:
    found = {
        "loud": _probe_raises,
        "absent": _probe_says_no,
        "good": _probe_says_yes,
        "unasked": _probe_raises,
    }
    records = [
        BackendProvider(name=name, factory=_raises, rank=-number, probe=probe)
        for number, (name, probe) in enumerate(found.items())
    ]
    host = PluginHost(plugins=[plugin(container_backends=records)], installed=False)
    picked = await Choice(host, Settings(), {}).pick()
    assert picked.backend is not None
    assert picked.backend.name == "good"
    assert picked.unavailable == {
        "loud": "its probe failed: SystemExit: probe",
        "absent": "not here",
    }


@frozen
class Mine:
    size: int = 1


async def test_settings_given_in_code_reach_their_provider_by_either_name() -> None:
    seen: list[Any] = []

    def factory(context: ProviderContext) -> Any:
        seen.append(context.settings)

    policy = RecoveryProvider(name="mine", settings_class=Mine, factory=factory)
    for name in ("mine", "recovery_mine"):
        async with manager(recovery=policy, provider_settings={name: Mine(5)}):
            pass
    async with manager(recovery=policy):
        pass
    assert seen == [Mine(5), Mine(5), Mine(1)]


async def test_settings_of_another_class_are_refused(tmp_path: Path) -> None:
    policy = RecoveryProvider(name="mine", settings_class=Mine, factory=_raises)
    house = manager(recovery=policy, provider_settings={"mine": {"size": 5}})
    (fault,) = await refusal(house)
    assert fault == Fault("provider_settings.mine", "must be of the class Mine, not dict")
