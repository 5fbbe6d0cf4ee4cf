"""What a plugin offers is checked before anybody uses it, and is nobody's to change."""

from __future__ import annotations

import types
from typing import Any

import attrs
import pytest
from attrs import field, frozen, validators

from flow_manager_core import BackendProvider, PluginHost, RecoveryProvider, hookimpl
from flow_manager_core.findings import Check
from flow_manager_core.plugins import PluginInfo, PluginStatus


def offering(records: Any, hook: str = "flow_manager_recovery_policies") -> PluginHost:
    """A host with one plugin, whose hook returns these records."""
    module = types.ModuleType("mine")
    setattr(module, hook, hookimpl(lambda: records))
    return PluginHost(plugins=[module], installed=False)


def mine(host: PluginHost) -> PluginInfo:
    return next(info for info in host.infos if info.name == "mine")


def policy(**changes: Any) -> RecoveryProvider:
    return RecoveryProvider(**{"name": "x", "factory": _nothing, **changes})


def _check(**changes: Any) -> Check:
    return Check(**{"name": "x", "asks": "is x well", "look": _nothing, **changes})


def _nothing(*_arguments: Any) -> Any:
    return None


class _Plain:
    size = 1


@frozen
class _NoDefault:
    size: int


@frozen
class _StrangeType:
    sizes: dict[str, int] = field(factory=dict)
    either: int | str = 1


@frozen
class _BadDefault:
    size: int = field(default=0, validator=validators.gt(0))


@frozen
class _UnknownType:
    size: Nowhere = 1  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    ("record", "told"),
    [
        (policy(name=7), "its name must be a letter"),
        (policy(name="a.b"), "its name must be a letter"),
        (policy(name=""), "its name must be a letter"),
        (policy(name="a\n"), "its name must be a letter"),
        (policy(name="auto"), "its name must not be one of auto, off"),
        (policy(summary="two\nlines"), "its summary must be one line"),
        (policy(factory="later"), "its factory cannot be called"),
        (policy(settings_class=_Plain), "must be an attrs class"),
        (policy(settings_class=_BadDefault(1)), "must be an attrs class"),
        (policy(settings_class=_NoDefault), "its setting size has no default"),
        (policy(settings_class=_StrangeType), "its setting sizes is of a type"),
        (policy(settings_class=_StrangeType), "its setting either is of a type"),
        (policy(settings_class=_BadDefault), "its settings cannot be their defaults"),
        (policy(settings_class=_UnknownType), "Nowhere"),
        (policy(checks=["x"]), "its checks must be a tuple of Check"),
        (policy(checks=(_check(name="Two Words"),)), "a check's name must hold small letters"),
        (policy(checks=(_check(asks="two\nlines"),)), "what its check x asks must be one line"),
        (policy(checks=(_check(look="later"),)), "its check x cannot be called"),
    ],
)
def test_a_record_that_is_not_whole_is_named_with_all_its_faults(record: Any, told: str) -> None:
    host = offering([record])
    assert mine(host).status is PluginStatus.BROKEN
    assert told in mine(host).reason
    assert host.choose(RecoveryProvider, "none")


def test_a_backend_record_has_more_to_be_right() -> None:
    record = BackendProvider(name="x", factory=_nothing, rank="high", probe="yes", onlook="no")  # type: ignore[arg-type]
    told = mine(offering([record], "flow_manager_container_backends")).reason
    assert "its rank must be a whole number" in told
    assert "its probe cannot be called" in told
    assert "its onlook cannot be called" in told


def test_what_a_plugin_does_to_its_records_later_changes_nothing() -> None:
    offered = [policy()]
    host = offering(offered)
    offered.append(policy(name="later"))
    object.__setattr__(offered[0], "name", "renamed")
    assert [p.name for p in mine(host).provides] == ["x"]
    with pytest.raises(AttributeError):
        host.infos.append(None)  # type: ignore[attr-defined]
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        host.infos[0].status = PluginStatus.BROKEN  # type: ignore[misc]


def test_a_record_of_a_class_that_changes_its_mind_is_taken_as_it_was() -> None:
    class Fickle(RecoveryProvider):
        asked = 0

        def __getattribute__(self, name: str) -> Any:
            if name == "name":
                Fickle.asked += 1
                return f"x{Fickle.asked}"
            return super().__getattribute__(name)

    record = Fickle(name="x", factory=_nothing)
    Fickle.asked = 0
    host = offering([record])
    assert {host.choose(RecoveryProvider, "x1").name for _ in range(3)} == {"x1"}
