"""What the service runs on is the operator's choice."""

from __future__ import annotations

import importlib.util

import pytest

from flow_manager_core.errors import ConfigurationError
from flow_manager_core.service import event_loop_options
from flow_manager_core.settings import EventLoop


@pytest.fixture(params=[True, False], ids=["installed", "missing"])
def uvloop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether uvloop is installed."""
    found = importlib.util.spec_from_loader("uvloop", None) if request.param else None
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: found)
    return bool(request.param)


def test_uvloop_is_used_where_it_is_installed_unless_asyncio_is_wanted(uvloop: bool) -> None:
    assert event_loop_options() == {"use_uvloop": uvloop}
    assert event_loop_options(EventLoop.AUTO) == {"use_uvloop": uvloop}
    assert event_loop_options(EventLoop.ASYNCIO) == {"use_uvloop": False}


def test_uvloop_that_is_wanted_and_missing_is_named(uvloop: bool) -> None:
    if uvloop:
        assert event_loop_options(EventLoop.UVLOOP) == {"use_uvloop": True}
        return
    with pytest.raises(ConfigurationError, match="uvloop is not installed"):
        event_loop_options(EventLoop.UVLOOP)
