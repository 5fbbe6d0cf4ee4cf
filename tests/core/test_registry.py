"""How names are taken, and what whoever comes second is told."""

from __future__ import annotations

import pytest

from flow_manager_core.errors import EngineError
from flow_manager_core.models import ContainerState
from flow_manager_core.registry import ContainerRecord, Registry
from flow_manager_core.terms import Terms


@pytest.mark.parametrize(
    ("state", "retryable"),
    [
        (ContainerState.CREATED, False),
        (ContainerState.RUNNING, False),
        (ContainerState.REMOVING, True),
    ],
)
def test_a_name_whose_owner_is_being_removed_may_be_asked_for_again(
    state: ContainerState, retryable: bool
) -> None:
    registry = Registry()
    owner = ContainerRecord("one", Terms())
    registry.reserve(owner)
    owner.state = state
    with pytest.raises(EngineError, match="already in use") as refused:
        registry.reserve(ContainerRecord("one", Terms()))
    assert refused.value.retryable is retryable
