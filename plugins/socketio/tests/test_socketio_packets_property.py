"""Any text or bytes as a packet, any JSON as a payload: never an exception of another kind."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flow_manager_socketio import jsontext
from flow_manager_socketio.jsontext import Unreadable
from flow_manager_socketio.packets import MalformedPacket, TextPacket, well_formed
from flow_manager_socketio.polling import _text_packets

_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs",)))
)
_KEYS = st.text('ab:" \\', max_size=3)
_JSON = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text('ab:" \\', max_size=3), inner)
    ),
    max_leaves=20,
)
_HEADS = st.sampled_from(["0", "1", "2", "3", "42", "451-", "46", "2/x,", "2/", "212", "²", ""])


@settings(max_examples=150, deadline=None)
@given(_HEADS, st.text() | st.binary())
@example("2", '["a",{"a":1,"a":2}]')
@example("2", "[" * 100_000)
@example("2" + "²", "[]")
def test_any_text_or_bytes_is_a_packet_or_malformed(head: str, rest: str | bytes) -> None:
    packet: Any = head + rest if isinstance(rest, str) else head.encode() + rest
    if isinstance(packet, str):
        assert well_formed(packet) in (True, False)
        if not packet:
            return  # python-socketio makes an empty packet of it
    elif not packet:
        return
    try:
        decoded = TextPacket(encoded_packet=packet)
    except MalformedPacket:
        return
    assert decoded.packet_type in range(7)


@settings(max_examples=150, deadline=None)
@given(_JSON, st.booleans(), st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : ")]))
def test_any_json_without_a_key_twice_is_read_as_it_is(
    value: Any, ascii_only: bool, separators: tuple[str, str]
) -> None:
    text = json.dumps(["echo", value], ensure_ascii=ascii_only, separators=separators)
    assert jsontext.loads(text) == orjson.loads(text)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(st.text(max_size=4), _SCALARS, min_size=1, max_size=4),
    st.data(),
    st.booleans(),
    st.sampled_from([":", ": ", " :", "\t: ", "\n:"]),
)
def test_a_key_twice_is_never_read(
    value: dict[str, Any], data: Any, ascii_only: bool, colon: str
) -> None:
    key = data.draw(st.sampled_from(sorted(value)))
    try:
        key.encode()
    except UnicodeEncodeError:
        return
    pairs = [*value.items(), (key, data.draw(_SCALARS))]
    inner = ",".join(
        json.dumps(k, ensure_ascii=data.draw(st.booleans()))
        + colon
        + json.dumps(v, ensure_ascii=ascii_only)
        for k, v in pairs
    )
    found = jsontext.loads('["echo",[{' + inner + "}]]")
    assert found[0] == "echo"
    assert isinstance(found[1], Unreadable)


@given(st.binary(max_size=200))
def test_any_body_is_cut_into_packets(body: bytes) -> None:
    assert all(isinstance(packet, str) for packet in _text_packets(body))


@pytest.mark.parametrize("levels", [200, 300, 900])
def test_deep_nesting_is_read_or_refused(levels: int) -> None:
    found = jsontext.loads('["echo",' + "[" * levels + "]" * levels + "]")
    assert found[0] == "echo"
