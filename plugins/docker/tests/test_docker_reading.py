"""What the engine says, in the core's words: containers, events, logs, images' names."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from flow_manager_core.models import (
    ContainerState,
    EngineEventKind,
    Health,
    PortMapping,
    PullProgress,
)
from flow_manager_docker.events import event_parameters, read_event
from flow_manager_docker.inspect_reading import read_container
from flow_manager_docker.log_reading import LINE_LIMIT, LINES_LIMIT, TOTAL_LIMIT, read_lines
from flow_manager_docker.pulling import ProgressThrottle, parameters


def described(**state: Any) -> dict[str, Any]:
    zero = "0001-01-01T00:00:00Z"
    base = {"Status": "created", "ExitCode": 0, "OOMKilled": False, "Error": ""}
    return {
        "Id": "f" * 64,
        "Name": "/a-flow",
        "Created": "2026-01-02T03:04:05.123456789Z",
        "State": {**base, "StartedAt": zero, "FinishedAt": zero, **state},
        "Config": {"Image": "flows/a:1", "Labels": None},
        "HostConfig": {"PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "0"}]}},
        "NetworkSettings": {"Ports": {}},
    }


def test_a_created_container_has_no_times_and_no_code() -> None:
    seen = read_container(described(ExitCode=128, Error="why"))
    assert (seen.name, seen.image, seen.state) == ("a-flow", "flows/a:1", ContainerState.CREATED)
    assert seen.created == datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)
    assert (seen.started_at, seen.finished_at, seen.exit_code) == (None, None, None)
    assert seen.error == "why"
    assert seen.ports == (PortMapping(80, 0),)


@pytest.mark.parametrize(
    "name", ["created", "running", "paused", "restarting", "exited", "removing", "dead"]
)
def test_every_state_of_the_engine_is_known(name: str) -> None:
    assert read_container(described(Status=name)).state == name


def test_a_running_container_has_real_ports_and_health() -> None:
    found = described(Status="running", StartedAt="2026-01-02T03:04:06Z")
    found["NetworkSettings"]["Ports"] = {"80/tcp": [{"HostIp": "", "HostPort": "32768"}]}
    found["State"]["Health"] = {"Status": "unhealthy"}
    seen = read_container(found)
    assert seen.ports == (PortMapping(80, 32768),)
    assert seen.health is Health.UNHEALTHY
    assert seen.exit_code is None


def test_an_ended_container_has_its_code() -> None:
    seen = read_container(described(Status="exited", ExitCode=137, OOMKilled=True))
    assert (seen.exit_code, seen.oom_killed) == (137, True)


def notice(action: str, **attributes: str) -> dict[str, Any]:
    actor = {"ID": "f" * 64, "Attributes": attributes}
    return {"Type": "container", "Action": action, "Actor": actor, "timeNano": 1_500_000_000}


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        ("start", EngineEventKind.STARTED),
        ("die", EngineEventKind.DIED),
        ("stop", EngineEventKind.STOPPED),
        ("oom", EngineEventKind.OUT_OF_MEMORY),
        ("destroy", EngineEventKind.REMOVED),
        ("pause", EngineEventKind.CHANGED),
        ("health_status: healthy", EngineEventKind.CHANGED),
    ],
)
def test_a_notice_becomes_an_event(action: str, kind: EngineEventKind) -> None:
    event = read_event(notice(action))
    assert event is not None
    assert (event.kind, event.at, event.signal) == (kind, 1.5, None)


def test_a_signal_is_told_by_its_number() -> None:
    event = read_event(notice("kill", signal="15"))
    assert event is not None
    assert (event.kind, event.signal) == (EngineEventKind.SIGNALLED, 15)


@pytest.mark.parametrize("action", ["exec_start: /bin/true", "attach", "create", "top", ""])
def test_other_notices_are_left_out(action: str) -> None:
    assert read_event(notice(action)) is None


@pytest.mark.parametrize(
    ("clock", "since"),
    [
        ("2026-11-23T20:48:19.267172122Z", "1795466899.267172122"),
        ("2026-11-23T21:48:19.5+01:00", "1795466899.5"),
        ("2026-11-23T20:48:19Z", "1795466899.0"),
    ],
)
def test_the_engines_clock_keeps_all_its_digits(clock: str, since: str) -> None:
    assert event_parameters("default", clock)["since"] == since


def entry(text: bytes, *, second: int = 0, stderr: bool = False) -> bytes:
    content = b"2026-01-02T03:04:%02d.000000001Z " % second + text
    return bytes([2 if stderr else 1, 0, 0, 0]) + len(content).to_bytes(4, "big") + content


def test_log_lines_are_ordered_by_time_and_keep_their_stream() -> None:
    stream = entry(b"b\n", second=2) + entry(b"a\n", second=1, stderr=True) + entry(b"c", second=3)
    chunks = [stream[n : n + 7] for n in range(0, len(stream), 7)]
    lines = read_lines(chunks, 10)
    assert [(e.stream, e.line) for e in lines] == [
        ("stderr", "a"),
        ("stdout", "b"),
        ("stdout", "c"),
    ]
    assert lines[0].timestamp == datetime(2026, 1, 2, 3, 4, 1, tzinfo=UTC)
    assert [e.line for e in read_lines(chunks, 1)] == ["c"]
    assert read_lines(chunks, 0) == []


def test_the_pieces_of_a_long_line_are_joined_up_to_a_limit() -> None:
    pieces = [entry(b"x" * 16_384) for _ in range(6)] + [entry(b"end\n"), entry(b"next\n")]
    lines = read_lines(pieces, 10)
    assert [len(e.line) for e in lines] == [LINE_LIMIT, 4]


def test_undecodable_bytes_are_replaced() -> None:
    assert read_lines([entry(b"\xff\n")], 1)[0].line == "\ufffd"


def test_a_flood_of_output_is_bounded_and_its_end_is_kept() -> None:
    many = [entry(b"%d\n" % n) for n in range(LINES_LIMIT + 500)]
    assert len(read_lines(many, LINES_LIMIT)) == LINES_LIMIT
    long = [entry(b"x" * 60_000 + b"%d\n" % n) for n in range(300)]
    lines = read_lines(long, LINES_LIMIT)
    assert sum(len(e.line) for e in lines) <= TOTAL_LIMIT
    assert lines[-1].line.endswith("299")


@pytest.mark.parametrize(
    ("image", "repository", "tag"),
    [
        ("a", "a", "latest"),
        ("host:5000/a/b", "host:5000/a/b", "latest"),
        ("host:5000/a:1", "host:5000/a", "1"),
        ("a@sha256:" + "0" * 64, "a", "sha256:" + "0" * 64),
    ],
)
def test_an_images_name_is_taken_apart(image: str, repository: str, tag: str) -> None:
    assert parameters(image) == {"fromImage": repository, "tag": tag}


def test_progress_is_told_four_times_a_second_and_at_each_change() -> None:
    throttle = ProgressThrottle()

    def told(status: str, now: float) -> bool:
        return throttle.passes(PullProgress("i", status, layer="l"), now)

    seen = [told("Downloading", n / 100) for n in range(100)]
    assert 3 <= sum(seen) <= 5
    assert told("Extracting", 1.0)
    assert not told("Extracting", 1.0)
