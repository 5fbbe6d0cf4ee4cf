"""The channel's frames: cut anywhere, come back as sent, and survive whatever a flow writes."""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flow_manager_core.errors import ChannelError
from flow_manager_core.frame_json import DEPTH_LIMIT
from flow_manager_core.framing import (
    HEADER,
    BadFrame,
    FrameDecoder,
    FramingLost,
    decode_message,
    encode_frame,
)
from flow_manager_core.models import Message

LIMIT = 1024 * 1024

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
ids = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=128)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**300), 10**300)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)
extras = st.dictionaries(
    texts.filter(lambda key: key not in ("command", "data", "id", "reply_to")), values, max_size=3
)
messages = st.builds(Message, texts, values, ids, ids, extras)
SHREDS = rb'{"command": "a" , "data": [ ] { } NaN 1e999 - 0.5 "\ud800" "id": null'.split()
shreds = st.sampled_from([*SHREDS, b"9" * 400, b"\xff", b"\xed\xa0\x80"])
likely_json = st.lists(shreds, max_size=40).map(b"".join)


def framed(*bodies: bytes) -> bytes:
    return b"".join(len(body).to_bytes(HEADER, "big") + body for body in bodies)


def in_pieces(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(cuts), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def decoded(decoder: FrameDecoder, *pieces: bytes) -> list[bytes | ChannelError]:
    return [found for piece in pieces for found in decoder.feed(piece)]


@given(messages)
def test_a_message_comes_back_as_it_was_sent(message: Message) -> None:
    frame = encode_frame(message, LIMIT)
    (body,) = decoded(FrameDecoder(LIMIT), frame)
    assert isinstance(body, bytes)
    assert decode_message(body) == message


@given(st.lists(messages, max_size=5), st.data())
def test_frames_may_be_split_anywhere(sent: list[Message], data: st.DataObject) -> None:
    stream = b"".join(encode_frame(message, LIMIT) for message in sent)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=20))
    found = decoded(FrameDecoder(LIMIT), *in_pieces(stream, cuts))
    assert [decode_message(body) for body in found if isinstance(body, bytes)] == sent


def test_frames_that_come_byte_by_byte_are_found() -> None:
    stream = framed(b"{}", b"", b"[1]")
    pieces = [bytes([byte]) for byte in stream]
    assert decoded(FrameDecoder(LIMIT), *pieces) == [b"{}", b"", b"[1]"]


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=10))
def test_random_bytes_yield_bodies_or_channel_errors_and_nothing_else(
    noise: bytes, cuts: list[int]
) -> None:
    for found in decoded(FrameDecoder(64), *in_pieces(noise, cuts)):
        assert isinstance(found, (bytes, ChannelError))


SMALL = 64
#: Streams of frames below, at and over the limit, whole or not, and some of a senseless length.
lengths = st.integers(0, 2 * SMALL) | st.sampled_from([SMALL, SMALL + 1, 16 * SMALL, 2**32 - 1])
pieces_of_streams = st.builds(
    lambda length, body: length.to_bytes(HEADER, "big") + body[:length],
    lengths,
    st.binary(max_size=16 * SMALL),
)
streams = st.lists(pieces_of_streams | st.binary(max_size=8), max_size=8).map(b"".join)


@given(streams, st.lists(st.integers(0, 2000), max_size=30))
@settings(max_examples=200)
def test_the_same_bytes_give_the_same_frames_however_they_are_cut(
    stream: bytes, cuts: list[int]
) -> None:
    whole = decoded(FrameDecoder(SMALL), stream)
    cut = decoded(FrameDecoder(SMALL), *in_pieces(stream, [min(c, len(stream)) for c in cuts]))
    assert list(map(told, cut)) == list(map(told, whole))


@given(streams, st.integers(1, 100))
def test_a_decoder_holds_one_frame_and_one_read_at_most(stream: bytes, read: int) -> None:
    decoder = FrameDecoder(SMALL)
    for start in range(0, len(stream), read):
        for _ in decoder.feed(stream[start : start + read]):
            assert decoder.pending <= HEADER + SMALL + read
        assert decoder.pending < HEADER + SMALL


@given(
    st.lists(st.binary(max_size=SMALL) | st.integers(SMALL + 1, 16 * SMALL), max_size=8),
    st.lists(st.integers(0, 5000), max_size=20),
)
def test_after_every_bad_frame_the_next_one_is_found(
    sent: list[bytes | int], cuts: list[int]
) -> None:
    bodies = [b"x" * item if isinstance(item, int) else item for item in sent]
    stream = framed(*bodies, b"last")
    found = decoded(FrameDecoder(SMALL), *in_pieces(stream, [min(c, len(stream)) for c in cuts]))
    expected = ["BadFrame" if isinstance(item, int) else item for item in [*sent, b"last"]]
    assert list(map(told, found)) == expected


def told(found: bytes | ChannelError) -> bytes | str:
    return found if isinstance(found, bytes) else type(found).__name__


@given(st.binary(max_size=100) | likely_json)
@settings(max_examples=300)
def test_a_body_of_any_bytes_is_a_message_or_a_bad_frame(body: bytes) -> None:
    try:
        message = decode_message(body)
    except BadFrame:
        return
    assert decode_message(encode_frame(message, LIMIT)[HEADER:]) == message


def nested(depth: int, opening: bytes = b"[", closing: bytes = b"]") -> bytes:
    return b'{"command":"a","data":' + opening * depth + closing * depth + b"}"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b'{"command":"\xed\xa0\x80"}', "not UTF-8"),
        (b'\xef\xbb\xbf{"command":"a"}', "not JSON"),
        (b'{"command":"a"', "not JSON"),
        (b'{"command":"a"}x', "not JSON"),
        (b'{"command":"a\nb"}', "not JSON"),
        (b"[]", "no object"),
        (b'"command"', "no object"),
        (b"null", "no object"),
        (b"{}", "command"),
        (b'{"command":1}', "command"),
        (b'{"command":null}', "command"),
        (b'{"command":"a","id":7}', "id"),
        (b'{"command":"a","id":-1}', "id"),
        (b'{"command":"a","reply_to":[]}', "reply_to"),
        (b'{"command":"a","id":"' + b"i" * 1024 * 1024 + b'"}', "id"),
        (b'{"command":"a","data":NaN}', "NaN"),
        (b'{"command":"a","data":-Infinity}', "Infinity"),
        (b'{"command":"a","data":1e999}', "too large"),
        (b'{"command":"a","data":-1e999}', "too large"),
        (b'{"command":"a","data":' + b"9" * 309 + b"}", "too large"),
        (b'{"command":"a","data":-' + b"9" * 5000 + b"}", "too large"),
        (b'{"command":"a","data":"\\ud800"}', "surrogate"),
        (b'{"command":"a","data":{"\\uDC00":1}}', "surrogate"),
        (b'{"command":"a","command":"b"}', "same key"),
        (b'{"command":"a","data":{"k":1,"k":1}}', "same key"),
        (nested(100_000), "deep"),
        (nested(100_000, b'{"k":[', b"]}"), "deep"),
        (nested(DEPTH_LIMIT), "deep"),
        (b'{"command":"a","data":' + b"[" * 100_000, "deep"),
    ],
    ids=lambda value: repr(value[:40]),
)
def test_what_other_languages_would_read_otherwise_is_refused(body: bytes, told: str) -> None:
    with pytest.raises(BadFrame, match=told) as raised:
        decode_message(body)
    assert raised.value.error_type == "socket_error"
    assert len(raised.value.message) < 300


@pytest.mark.parametrize(
    ("body", "data"),
    [
        (b'{"command":"a","data":"\\ud83d\\ude00"}', "\U0001f600"),
        (b'{"command":"a","data":"\\\\ud800"}', "\\ud800"),
        (b'{"command":"a","data":1.7e308}', 1.7e308),
        (b'{"command":"a","data":1' + b"0" * 308 + b"}", 10**308),
        (b'{"command":"a","data":"\\u0000\\u001b[31m\\n"}', "\0\x1b[31m\n"),
        (b' {"command":"a"}\n', None),
        (nested(1).replace(b"[]", b"[" + b"[]," * 5000 + b"[]]"), [[] for _ in range(5001)]),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_is_unusual_but_sound_is_taken(body: bytes, data: object) -> None:
    assert decode_message(body).data == data


def test_nesting_up_to_the_limit_is_taken() -> None:
    assert decode_message(nested(DEPTH_LIMIT - 1)).command == "a"


def test_fields_that_the_contract_does_not_name_are_kept() -> None:
    message = decode_message(b'{"command":"a","trace":"t","data":1}')
    assert message.extra == {"trace": "t"}
    assert json.loads(encode_frame(message, LIMIT)[HEADER:])["trace"] == "t"


def loop_of_lists() -> list[object]:
    loop: list[object] = []
    loop.append(loop)
    return loop


def deep_list(depth: int) -> list[object]:
    found: list[object] = []
    for _ in range(depth):
        found = [found]
    return found


@pytest.mark.parametrize(
    "data",
    [math.nan, math.inf, {1, 2}, b"bytes", "\ud800", loop_of_lists(), deep_list(100_000)],
    ids=lambda value: type(value).__name__,
)
def test_what_json_cannot_say_is_refused_before_it_is_sent(data: object) -> None:
    with pytest.raises(BadFrame, match="cannot be written as JSON"):
        encode_frame(Message("a", data), LIMIT)


def test_a_message_that_no_flow_could_read_is_not_sent() -> None:
    with pytest.raises(BadFrame):
        encode_frame(Message("a", deep_list(DEPTH_LIMIT)), LIMIT)


def test_a_message_over_the_limit_is_refused_before_it_is_sent() -> None:
    with pytest.raises(BadFrame, match="over the limit of 100"):
        encode_frame(Message("a", "x" * 100), 100)


def test_a_frame_of_exactly_the_limit_passes() -> None:
    assert decoded(FrameDecoder(8), framed(b"12345678")) == [b"12345678"]


def test_an_oversized_frame_is_skipped_and_the_next_one_found() -> None:
    decoder = FrameDecoder(8)
    stream = framed(b"x" * 100, b"next")
    error, body = decoded(decoder, *in_pieces(stream, range(0, len(stream), 7)))
    assert isinstance(error, BadFrame)
    assert "100 bytes" in error.message
    assert body == b"next"


def test_an_oversized_frame_is_told_at_its_header_and_never_kept() -> None:
    decoder = FrameDecoder(1000)
    (error,) = decoded(decoder, (16_000).to_bytes(HEADER, "big"))
    assert isinstance(error, BadFrame)
    assert decoded(decoder, b"x" * 15_999) == []
    assert decoder.pending == 0


def test_a_senseless_length_loses_the_framing_for_good() -> None:
    decoder = FrameDecoder(LIMIT)
    (error,) = decoded(decoder, b"\xff\xff\xff\xff" + framed(b"{}"))
    assert isinstance(error, FramingLost)
    assert decoded(decoder, framed(b"{}")) == []
    assert decoder.pending == 0


@pytest.mark.parametrize("cut", [1, 3, 4, 5, 9])
def test_an_unfinished_frame_is_pending(cut: int) -> None:
    decoder = FrameDecoder(LIMIT)
    assert decoded(decoder, framed(b"123456")[:cut]) == []
    assert decoder.pending == cut


def seconds_for_tiny_frames(count: int, read: int) -> float:
    stream = framed(b"{}") * count
    decoder = FrameDecoder(LIMIT)
    pieces = [stream[start : start + read] for start in range(0, len(stream), read)]
    started = time.thread_time()
    assert len(decoded(decoder, *pieces)) == count
    return time.thread_time() - started


@pytest.mark.parametrize("read", [65536, 1 << 30])
def test_the_time_for_many_tiny_frames_grows_with_their_number_alone(read: int) -> None:
    few = min(seconds_for_tiny_frames(10_000, read) for _ in range(5))
    many = min(seconds_for_tiny_frames(100_000, read) for _ in range(3))
    assert many < 40 * few


def test_a_large_frame_in_small_reads_costs_no_copy_for_each_read() -> None:
    def seconds(size: int) -> float:
        stream = framed(random.Random(1).randbytes(size))
        pieces = [stream[start : start + 64] for start in range(0, len(stream), 64)]
        started = time.thread_time()
        assert len(decoded(FrameDecoder(LIMIT), *pieces)) == 1
        return time.thread_time() - started

    few = min(seconds(100_000) for _ in range(5))
    many = min(seconds(1_000_000) for _ in range(3))
    assert many < 40 * few
