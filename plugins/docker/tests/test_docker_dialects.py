"""What Podman says becomes what Docker would have said."""

from __future__ import annotations

import pytest

from flow_manager_core.models import ContainerState, EngineEventKind
from flow_manager_docker.dialects import DOCKER, PODMAN, dialect_of, program_of
from flow_manager_docker.events import memory_parameters, read_event
from flow_manager_docker.inspect_reading import read_listed
from flow_manager_docker.log_reading import log_parameters

CLOCK = "2026-01-02T03:04:05.000000006Z"


def test_the_make_is_told_by_a_header_of_any_answer() -> None:
    assert dialect_of({"Api-Version": "1.41", "Libpod-Api-Version": "4.3.1"}) is PODMAN
    assert dialect_of({"Api-Version": "1.41", "Server": "Docker/20.10.24 (linux)"}) is DOCKER


@pytest.mark.parametrize(
    ("told", "state"),
    [
        ("configured", ContainerState.CREATED),
        ("initialized", ContainerState.CREATED),
        ("running", ContainerState.RUNNING),
        ("stopping", ContainerState.RUNNING),
        ("stopped", ContainerState.EXITED),
        ("exited", ContainerState.EXITED),
    ],
)
def test_every_state_has_dockers_name(told: str, state: ContainerState) -> None:
    assert read_listed({"Id": "a", "Names": ["/n"], "State": told}).state is state


@pytest.mark.parametrize(
    ("path", "arguments", "program"),
    [
        ("/run/podman-init", ["--", "python3", "-V"], "python3"),
        ("python3", ["-V"], "python3"),
        ("/run/podman-init", [], "/run/podman-init"),
    ],
)
def test_the_program_is_found_behind_the_init(
    path: str, arguments: list[str], program: str
) -> None:
    assert program_of({"Path": path, "Args": arguments}) == program


def test_a_removal_and_a_signal_without_a_number_are_understood() -> None:
    def event(action: str) -> dict[str, object]:
        return {"Action": action, "Actor": {"ID": "a", "Attributes": {}}, "timeNano": 10**9}

    removed, signalled = read_event(event("remove")), read_event(event("kill"))
    assert removed
    assert removed.kind is EngineEventKind.REMOVED
    assert signalled
    assert (signalled.kind, signalled.signal) == (EngineEventKind.SIGNALLED, None)
    assert read_event(event("cleanup")) is None


def test_each_make_is_asked_in_a_way_that_its_answer_ends() -> None:
    docker, podman = (memory_parameters("i", CLOCK, make) for make in (DOCKER, PODMAN))
    assert docker["until"] == "1767323045.000000006"
    assert "until" not in podman
    assert podman["stream"] == "false"


def test_only_docker_is_asked_for_the_end_of_a_log() -> None:
    assert log_parameters(5, None, DOCKER)["tail"] == "69"
    assert log_parameters(5, None, PODMAN)["tail"] == "all"
