"""Reading and writing quickly comes to the same as reading and writing strictly."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from attrs import frozen
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flow_manager_core import frame_json
from flow_manager_core.frame_json import read_json, write_json

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    [" ", "a b", "é", "null", '"', "\\", "\x00", "\u2028", "a: b, c"]
)
numbers = (
    st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([0, -0.0, 1e16, 1e22, 5e-324, 2**63, 2**64, -(2**63), 0.1])
)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=12,
)
shapes = st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t: ")])
pieces = st.sampled_from(
    rb'{ } [ ] : , "a" "b" "" 1 1.0 -0 1e5 1E400 NaN null "\ud800" "\u00e9" {"a":1,"a":1}'.split()
)


def strictly(body: bytes) -> Any:
    found = frame_json._DECODER.decode(body.decode())
    frame_json._reject_surrogates(found)
    return found


def check(body: bytes) -> None:
    quick = frame_json._read_quickly(body)
    if quick is not frame_json._UNSURE:
        # `1` and `1.0` are the same to Python, and not to a flow.
        assert repr(quick) == repr(strictly(body))


@given(values, shapes, st.booleans())
@settings(max_examples=200)
def test_what_is_read_quickly_is_what_would_be_read_strictly(
    value: object, shape: tuple[str, str], ascii_alone: bool
) -> None:
    body = json.dumps(value, separators=shape, ensure_ascii=ascii_alone).encode()
    check(body)
    assert repr(read_json(body)) == repr(value)


@given(st.lists(pieces, max_size=12).map(b"".join) | st.lists(pieces, max_size=12).map(b" ".join))
@settings(max_examples=300)
@example(b'{"a":1,"a":1}')
@example(b'{"a" :1, "b":{"c":[1,{"d":1 , "d":2}]}}')
@example(b'{"a b":1,"a b":2}')
@example(b"12345678901234567890123")
@example(b"\xef\xbb\xbf{}")
def test_what_is_no_strict_json_is_not_read_quickly(body: bytes) -> None:
    check(body)


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")], ids=["tight", "spaced"])
def test_what_flows_send_as_a_rule_is_read_quickly(separators: tuple[str, str]) -> None:
    value = {"command": "x", "data": {"at": "2026-01-01 10:00", "n": [1, 2.5, None, True]}}
    body = json.dumps(value, separators=separators).encode()
    assert frame_json._read_quickly(body) == value


@given(values)
@settings(max_examples=200)
def test_what_is_written_is_read_again(value: object) -> None:
    assert repr(json.loads(write_json(value))) == repr(value)


@frozen
class Own:
    """What JSON has no word for."""


@pytest.mark.parametrize("value", [math.nan, math.inf, Own(), datetime.now(UTC), b"", {1}])
def test_what_json_cannot_say_is_written_by_neither(value: object) -> None:
    for whole in (value, [value], {"null": None, "value": value}):
        with pytest.raises((TypeError, ValueError)):
            write_json(whole)


def test_members_of_enums_and_uuids_are_written_the_same_by_both() -> None:
    member, key = Enum("E", {"A": "a"}).A, UUID(int=7)  # type: ignore[attr-defined]
    for more in ([], [None], [2**70]):
        assert json.loads(write_json([member, key, *more])) == ["a", str(key), *more]
