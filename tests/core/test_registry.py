"""How names are taken, and what whoever comes second is told."""

from __future__ import annotations

import pytest

from flow_manager_core.errors import EngineError
from flow_manager_core.models import ContainerState
from flow_manager_core.registry import ContainerRecord, Registry
from flow_manager_core.terms import TERMS, Terms, read_terms


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


def test_a_request_finds_what_its_own_asker_made_with_it_or_a_version_that_did_not_say() -> None:
    registry = Registry()
    for name, by in (("ada", "ada"), ("host", ""), ("old", None)):
        registry.reserve(ContainerRecord(name, Terms(request_id=f"r-{name}", by=by)))

    def found(request_id: str, by: str | None) -> str | None:
        record = registry.with_request(request_id, by)
        return record and record.name

    assert (found("r-ada", "ada"), found("r-ada", "bob"), found("r-ada", None)) == (
        "ada",
        None,
        None,
    )
    assert (found("r-host", None), found("r-host", "ada")) == ("host", None)
    assert (found("r-old", "ada"), found("r-old", None)) == ("old", "old")


def test_an_earlier_versions_label_does_not_say_who_asked() -> None:
    assert read_terms({TERMS: '{"request_id": "r1"}'}).by is None
    assert read_terms({TERMS: '{"request_id": "r1", "by": ""}'}).by == ""
