"""Failures, in the core's words."""

from __future__ import annotations

import pytest
import requests
from attrs import evolve
from docker.errors import APIError, DockerException
from urllib3.exceptions import ProtocolError

from flow_manager_core.errors import (
    ContainerNotFound,
    EngineError,
    EngineUnavailable,
    ImageNotFound,
    SystemFault,
)
from flow_manager_docker.errors_map import PullRefused, Subject, translate


class Response:
    """As much of an answer as the SDK's error keeps."""

    reason = "reason"

    def __init__(self, status: int) -> None:
        self.status_code = status


def refusal(status: int, told: str) -> APIError:
    return APIError("failed", response=Response(status), explanation=told)


SUBJECT = Subject(container_id="abcdef123456789", name="a-flow", image="a:1", secrets=("s3cret",))
PULL = Subject(image="a:1", pulling=True)


@pytest.mark.parametrize(
    ("error", "subject", "kind", "retryable"),
    [
        (refusal(404, "No such image: a:1"), SUBJECT, ImageNotFound, False),
        (refusal(404, "No such container: x"), SUBJECT, ContainerNotFound, False),
        (refusal(404, "network n not found"), SUBJECT, EngineError, False),
        (refusal(500, "no space left on device"), SUBJECT, EngineError, True),
        (refusal(404, "manifest unknown"), PULL, ImageNotFound, False),
        (refusal(500, "Get http://h/v2/: no basic auth credentials"), PULL, ImageNotFound, False),
        (
            refusal(500, "dial tcp 127.0.0.1:1: connect: connection refused"),
            PULL,
            EngineError,
            True,
        ),
        (refusal(500, "lookup h: no such host: not found"), PULL, EngineError, True),
        (PullRefused("unauthorized: authentication required"), PULL, ImageNotFound, False),
        (PullRefused("unexpected EOF in layer"), PULL, EngineError, False),
        (DockerException("boom"), SUBJECT, EngineUnavailable, True),
        (OSError(28, "No space left on device"), SUBJECT, SystemFault, False),
    ],
)
def test_failures_have_names(
    error: Exception, subject: Subject, kind: type[Exception], retryable: bool
) -> None:
    found = translate(error, subject)
    assert type(found) is kind
    assert found.retryable is retryable


def test_a_container_that_is_missing_is_named_as_in_the_guide() -> None:
    found = translate(refusal(404, "No such container: abcdef123456789"), SUBJECT)
    assert found.message == "Container not found: abcdef123456"


def test_no_message_holds_a_secret_or_a_second_line() -> None:
    found = translate(refusal(400, "bad variable s3cret\nat line 2"), SUBJECT)
    assert "s3cret" not in found.message
    assert "\n" not in found.message


def test_a_socket_that_may_not_be_used_is_told_as_that() -> None:
    denied = ProtocolError("Connection aborted.", PermissionError(13, "Permission denied"))
    found = translate(requests.ConnectionError(denied), SUBJECT)
    assert type(found) is EngineUnavailable
    assert "permission denied" in found.message
    assert "group docker" in found.hint


def test_a_container_that_the_engine_never_starts_again_is_said_to_need_a_new_one() -> None:
    starting = evolve(SUBJECT, starting=True)
    found = translate(refusal(409, "task abcdef: already exists"), starting)
    assert "create it anew" in found.hint
    assert "create it anew" not in translate(refusal(409, "busy"), starting).hint
