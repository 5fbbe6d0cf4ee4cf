"""Bad requests are refused with every fault named; good ones arrive as they were meant."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flow_manager_core.errors import InvalidRequest
from flow_manager_core.models import Mount, PortMapping, RestartMode, RestartPolicy
from flow_manager_core.operations.table import OPERATIONS, operation_named
from flow_manager_core.requests import CreateContainer, GetContainerLogs, SendMessage, StopContainer
from flow_manager_core.terms import TERMS, labels_for, read_terms, terms_of
from flow_manager_core.wire import _read_send, _structure_send, parse_request


class Word(StrEnum):
    """A text, and of a class that JSON does not know."""

    ID = "container_id"


SAID = ["data", "id", "reply_to", "other", Word.ID]
SENT = ["container_id", "reply", "timeout", "request_id", "other", Word.ID, 7]
odd = st.sampled_from(
    [
        None,
        True,
        1,
        0.5,
        "",
        "abcd",
        "x" * 129,
        "x" * 1025,
        "a\0",
        "a\n",
        "\ud800",
        "é",
        Word.ID,
        {},
        [],
    ]
)


def faults(kind: Any, payload: object) -> dict[str, str]:
    with pytest.raises(InvalidRequest) as caught:
        parse_request(kind, payload)
    return {fault.field: fault.message for fault in caught.value.faults}


@pytest.mark.parametrize("payload", [None, [], "text", 7, True, 1.5])
def test_a_payload_that_is_no_object_is_refused(payload: object) -> None:
    assert list(faults(CreateContainer, payload)) == ["payload"]


def test_every_fault_is_listed_with_its_field() -> None:
    found = faults(
        CreateContainer,
        {
            "image": 1,
            "name": "../x",
            "environment": {"A=B": "1", "FLOW_SOCKET": "/x", "N": 3},
            "ports": {"80": 70000, "0": 1, "http": 80},
            "volumes": {"relative": "/x", "/a": {"bind": "/b", "mode": "rx"}},
            "restart": {"policy": "sometimes", "extra": 1},
            "start": 1,
            "stop_timeout": -1,
            "unknown": True,
        },
    )
    assert set(found) == {
        "image",
        "name",
        "environment.A=...",
        "environment.FLOW_SOCKET",
        "environment.N",
        "ports.80",
        "ports.0",
        "ports.http",
        "volumes.relative",
        "volumes./a.mode",
        "restart.policy",
        "restart.extra",
        "start",
        "stop_timeout",
        "unknown",
    }


@pytest.mark.parametrize(
    "name",
    ["", "x", "../x", "a/b", "a..b/..", "-a", ".a", "a\nb", "a\0b", "ä" * 3, "a" * 300, "a b"],
)
def test_names_that_are_no_file_names_are_refused(name: str) -> None:
    assert "name" in faults(CreateContainer, {"image": "i", "name": name})


@pytest.mark.parametrize("image", ["", " ", "--privileged", "a\nb", "a\0", "x" * 513, None, 5, []])
def test_images_that_are_no_names_are_refused(image: object) -> None:
    assert "image" in faults(CreateContainer, {"image": image})


@pytest.mark.parametrize("field", sorted(a for a in CreateContainer.__annotations__ if a[0] != "_"))
@pytest.mark.parametrize("value", [object(), b"bytes", float("nan"), ["x", 1], {"k": []}])
def test_no_field_takes_a_foreign_type(field: str, value: object) -> None:
    if field != "operation":
        found = faults(CreateContainer, {"image": "i", field: value})
        assert any(name.split(".")[0] == field for name in found)


@pytest.mark.parametrize("timeout", [-1, 1e9, float("nan"), float("inf"), True, "5"])
def test_durations_are_finite_numbers_within_a_day(timeout: object) -> None:
    assert "timeout" in faults(StopContainer, {"container_id": "abcd", "timeout": timeout})


@pytest.mark.parametrize(
    "message", [{}, {"data": 1}, {"command": 1}, "text", None, [], {"command": "x", "z": 1}]
)
def test_a_message_without_a_command_is_refused(message: object) -> None:
    found = faults(SendMessage, {"container_id": "abcd", "message": message})
    assert all(name.startswith("message") for name in found)


def test_the_same_port_or_mount_twice_is_refused() -> None:
    found = faults(CreateContainer, {"image": "i", "ports": {"80": 1000, "81": 1000}})
    assert found == {"ports": "host port 1000/tcp is given twice"}
    found = faults(CreateContainer, {"image": "i", "volumes": {"/a": "/x", "/b": "/x"}})
    assert found == {"volumes": "/x is mounted twice"}


def test_labels_and_variables_of_the_manager_cannot_be_set() -> None:
    assert faults(CreateContainer, {"image": "i", "labels": {"flow-manager.managed": "false"}})
    assert faults(CreateContainer, {"image": "i", "environment": {"SOCKET_PATH": "/x"}})


def test_a_full_request_arrives_as_it_was_meant() -> None:
    request = parse_request(
        CreateContainer,
        {
            "image": "flow:latest",
            "name": "my-flow",
            "command": "python3 'my flow.py'",
            "volumes": {"/data/": {"bind": "/x/./y", "mode": "ro"}},
            "ports": {"8080": 0, "53/udp": 5353},
            "request_id": "r1",
        },
    )
    spec = request.spec("my-flow")
    assert spec.command == ("python3", "my flow.py")
    assert spec.volumes == (Mount("/data", "/x/y", read_only=True),)
    assert spec.ports == (PortMapping(8080, 0), PortMapping(53, 5353, "udp"))


def test_a_container_may_say_how_patiently_it_is_restarted() -> None:
    restart = {
        "policy": "on-crash",
        "max_attempts": 3,
        "first_delay": 0,
        "factor": 1.5,
        "max_delay": 86400,
        "jitter": 1,
        "stable_after": 2.5,
    }
    spec = parse_request(CreateContainer, {"image": "i", "restart": restart}).spec("flow")
    policy = RestartPolicy(RestartMode.ON_CRASH, 3, 0.0, 1.5, 86400.0, 1.0, 2.5)
    assert spec.restart == policy
    labels = labels_for(spec, "default", terms_of(spec, None, {}))
    assert read_terms(labels).restart == policy
    assert parse_request(CreateContainer, {"image": "i"}).spec("flow").restart == RestartPolicy()


def test_every_fault_of_a_restart_policy_is_listed() -> None:
    found = faults(
        CreateContainer,
        {
            "image": "i",
            "restart": {
                "policy": 1,
                "max_attempts": 0,
                "first_delay": -1,
                "factor": 0.5,
                "max_delay": 86401,
                "jitter": 1.1,
                "stable_after": True,
                "forever": True,
            },
        },
    )
    fields = ("policy", "max_attempts", "first_delay", "factor", "max_delay", "jitter")
    assert set(found) == {f"restart.{f}" for f in (*fields, "stable_after", "forever")}


@pytest.mark.parametrize(
    ("label", "policy"),
    [
        ("{}", RestartPolicy()),
        (
            '{"restart": {"policy": "always", "max_attempts": 4}}',
            RestartPolicy(RestartMode.ALWAYS, 4),
        ),
        (
            '{"restart": {"policy": "always", "jitter": 0, "moon": "full"}}',
            RestartPolicy(RestartMode.ALWAYS, jitter=0.0),
        ),
    ],
)
def test_the_restart_policy_of_an_older_or_newer_managers_label_is_read(
    label: str, policy: RestartPolicy
) -> None:
    assert read_terms({TERMS: label}).restart == policy


@pytest.mark.parametrize("since", [0, 1.5, "2026-01-01T00:00:00Z", "2026-01-01"])
def test_log_times_are_seconds_or_rfc_3339(since: object) -> None:
    request = parse_request(GetContainerLogs, {"container_id": "abcd", "since": since})
    assert request.since is not None
    assert request.since.at.tzinfo is not None


@pytest.mark.parametrize("since", ["yesterday", True, [], 1e30])
def test_other_log_times_are_refused(since: object) -> None:
    assert "since" in faults(GetContainerLogs, {"container_id": "abcd", "since": since})


def test_an_unknown_operation_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidRequest, match="create_container"):
        operation_named("drop_tables")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


ANYTHING = JSON | st.integers(-(10**500), 10**500) | st.sampled_from([10**4000])
ODD_KEYS = st.text(max_size=5) | st.sampled_from(
    ["", "\ud800", "a\nb", "container_id ", "__init__"]
)


def fields_of(name: str) -> st.SearchStrategy[dict[str, object]]:
    """Payloads with the operation's own fields, others beside them, and anything in either."""
    own = [a.name for a in attrs.fields(OPERATIONS[name].request)]
    return st.dictionaries(st.sampled_from(own) | ODD_KEYS, ANYTHING, max_size=6)


@pytest.mark.parametrize("name", sorted(OPERATIONS))
@given(st.data())
@settings(max_examples=40)
def test_no_payload_does_anything_but_parse_or_be_refused_by_its_fields(
    name: str, data: st.DataObject
) -> None:
    payload = data.draw(fields_of(name) | ANYTHING)
    try:
        parse_request(OPERATIONS[name].request, payload)
    except InvalidRequest as refused:
        assert refused.faults
        assert all(fault.field and fault.message for fault in refused.faults)
        if isinstance(payload, dict):
            own = {a.name for a in attrs.fields(OPERATIONS[name].request)}
            known = own | {key or '""' for key in payload}
            assert all(any(f.field.startswith(k) for k in known) for f in refused.faults)


@pytest.mark.parametrize("timeout", [10**400, -(10**5000)], ids=["400", "5000"])
def test_a_number_beyond_all_numbers_is_refused_as_any_other(timeout: int) -> None:
    found = faults(StopContainer, {"container_id": "abcd", "timeout": timeout})
    assert len(found["timeout"]) < 100


@given(
    st.fixed_dictionaries(
        {
            "message": st.fixed_dictionaries({"command": odd}, optional=dict.fromkeys(SAID, odd))
            | odd
        },
        optional=dict.fromkeys(SENT, odd),
    )
)
@settings(max_examples=300)
def test_a_message_that_is_read_quickly_is_what_it_is_strictly(payload: dict[Any, Any]) -> None:
    quick = _read_send(payload)
    if quick is not None:
        assert quick == _structure_send(payload, SendMessage)


def test_a_message_as_most_clients_send_it_is_read_quickly() -> None:
    payload = {"container_id": "abcdef123456", "message": {"command": "x", "data": []}}
    for more in ({}, {"reply": True}):
        assert _read_send({**payload, **more}) is not None
