"""Problem details: the members of RFC 9457, and all that the standard format says."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest

from flow_manager_core.errors import (
    ChannelError,
    ChannelTimeout,
    ContainerNotFound,
    EngineError,
    EngineUnavailable,
    FlowManagerError,
    FlowNotConnected,
    ImageNotFound,
    InvalidRequest,
    ShuttingDown,
    SystemFault,
)
from flow_manager_core.models import Fault
from flow_manager_core.testing.error_format_cases.formats import KINDS
from flow_manager_core.wire import standard_format
from flow_manager_problem import ProblemFormat, ProblemSettings
from flow_manager_problem.details import KINDS as DESCRIBED

AT = datetime(2025, 7, 21, 10, 30, tzinfo=UTC)


def told(error: FlowManagerError, **settings: str) -> dict[str, Any]:
    return ProblemFormat(ProblemSettings(**settings))(error, AT)


def test_a_body_is_a_problem_and_the_standard_object_at_once() -> None:
    error = ContainerNotFound(
        "Container not found: abc123", operation="start_container", request_id="r-1"
    )
    body = told(error)
    assert body == {
        "type": "urn:flow-manager:error:container_not_found",
        "title": "Container not found",
        "status": 404,
        "detail": "Container not found: abc123",
        "instance": "urn:flow-manager:request:r-1",
        **standard_format(error, AT),
    }
    assert body["error"] is True
    assert body["details"]["operation"] == "start_container"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ImageNotFound("x"), 404),
        (ContainerNotFound("x"), 404),
        (InvalidRequest([Fault("a", "b")]), 422),
        (EngineError("x"), 502),
        (EngineError("x", retryable=True), 503),
        (EngineUnavailable("x"), 503),
        (ChannelError("x"), 502),
        (FlowNotConnected("x"), 503),
        (FlowNotConnected("x", retryable=False), 502),
        (ChannelTimeout("x"), 504),
        (SystemFault("x"), 500),
        (ShuttingDown("x"), 503),
        (ImageNotFound("x", retryable=True), 404),
    ],
)
def test_the_status_says_whose_fault_it_is_and_whether_to_come_back(
    error: FlowManagerError, status: int
) -> None:
    assert told(error)["status"] == status


def test_every_kind_of_failure_has_a_title_of_its_own() -> None:
    assert set(DESCRIBED) == {kind.error_type for kind in KINDS}
    assert len({title for title, _ in DESCRIBED.values()}) == len(DESCRIBED)


def test_a_kind_that_a_plugin_made_up_is_described_as_what_it_is_a_kind_of() -> None:
    class OutOfPaper(EngineError):
        error_type = "out of paper"

    body = told(OutOfPaper("x"))
    assert (body["title"], body["status"]) == (DESCRIBED["docker_api_error"][0], 502)
    assert body["type"] == "urn:flow-manager:error:out%20of%20paper"


def test_without_a_request_id_there_is_no_instance() -> None:
    assert "instance" not in told(SystemFault("x"))


@pytest.mark.parametrize("request_id", ["a b", "../x?y#z", "ü\n", "caf\udce9", "x" * 128])
def test_any_request_id_makes_a_uri(request_id: str) -> None:
    instance = told(SystemFault("x", request_id=request_id))["instance"]
    assert instance.isascii()
    assert instance.isprintable()
    assert not {" ", "#", "?"} & set(instance)
    assert urlsplit(instance).scheme == "urn"


@pytest.mark.parametrize(
    "base", ["https://docs.example.org/errors/", "https://example.org/errors#", "tag:x,2025:"]
)
def test_the_type_can_lead_to_your_own_documentation(base: str) -> None:
    assert told(SystemFault("x"), type_base=base)["type"] == f"{base}system_error"


@pytest.mark.parametrize("base", ["", "/errors/", "https://example.org/errors", "urn:a b:", "x"])
def test_a_base_that_makes_no_uri_is_refused(base: str) -> None:
    with pytest.raises(ValueError, match="type_base must be"):
        ProblemSettings(type_base=base)
