"""What is fuzzed, from which seeds, and what must hold for every input.

A target's `check` returns a short text that names the outcome, without what varies from input to
input, and raises for an input that breaks a promise.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator, Sequence

from attrs import frozen

from flow_manager_core.errors import ChannelError, InvalidRequest
from flow_manager_core.framing import (
    HEADER,
    BadFrame,
    FrameDecoder,
    FramingLost,
    decode_message,
    encode_frame,
)
from flow_manager_core.operations.table import OPERATIONS
from flow_manager_core.wire import parse_request
from flow_manager_socketio.packets import MalformedPacket, TextPacket, well_formed
from tests.fuzz.mutate import mutated, mutated_json

#: Bytes of a frame's body: small, so that short inputs get beyond it.
LIMIT = 64
ROOMY = 1024 * 1024
_VARYING = re.compile(r"'[^']*'|\"[^\"]*\"|-?\d+|\[[^]]*\]")

Mutate = Callable[[random.Random, bytes, bytes], bytes]


@frozen
class Target:
    """One thing that is fuzzed."""

    seeds: Sequence[bytes]
    mutate: Mutate
    check: Callable[[bytes], str]


def check_stream(data: bytes) -> str:
    """Any bytes in any pieces give what the specification says, and little is held."""
    expected = list(frames_by_the_book(data))
    for pieces in ([data], _in_pieces(data, len(data)), _in_pieces(data, 7 * len(data) + 1)):
        assert list(_decoded(pieces)) == expected
    return " ".join(kind if isinstance(kind, str) else "body" for kind in expected[:6])


def frames_by_the_book(data: bytes) -> Iterator[bytes | str]:
    """What a stream holds, written from the contract; errors by their kind."""
    while len(data) >= HEADER:
        length = int.from_bytes(data[:HEADER], "big")
        if length > 16 * LIMIT:
            yield "FramingLost"
            return
        if length > LIMIT:
            yield "BadFrame"
        elif len(data) >= HEADER + length:
            yield data[HEADER : HEADER + length]
        data = data[HEADER + length :]


def _in_pieces(data: bytes, seed: int) -> list[bytes]:
    chance, found = random.Random(seed), []
    while data:
        size = chance.choice((1, 2, 3, 5, 20, 100))
        found.append(data[:size])
        data = data[size:]
    return found


def _decoded(pieces: Sequence[bytes]) -> Iterator[bytes | str]:
    decoder = FrameDecoder(LIMIT)
    for piece in pieces:
        for found in decoder.feed(piece):
            if isinstance(found, bytes):
                yield found
                continue
            assert isinstance(found, (BadFrame, FramingLost))
            yield type(found).__name__
        assert decoder.pending < HEADER + LIMIT


def check_body(data: bytes) -> str:
    """A body is a message that comes back as it was, or a bad frame with a short text."""
    try:
        message = decode_message(data)
    except BadFrame as error:
        return _refusal(error)
    assert decode_message(encode_frame(message, ROOMY)[HEADER:]) == message
    return "message " + type(message.data).__name__ + str(sorted(message.extra))[:40]


def _refusal(error: ChannelError) -> str:
    assert 0 < len(error.message) < 300
    return _VARYING.sub("_", error.message)


def check_payload(data: bytes) -> str:
    """A payload is a request, or is refused with its faults by name."""
    name, _, text = data.decode().partition(" ")
    try:
        request = parse_request(OPERATIONS[name].request, json.loads(text))
    except InvalidRequest as refused:
        assert refused.faults
        assert all(fault.field and fault.message for fault in refused.faults)
        told = sorted({_VARYING.sub("_", fault.message)[:60] for fault in refused.faults})
        return f"{name}: {told}"
    hash(request.operation)
    return f"{name}: taken"


def check_packet(data: bytes) -> str:
    """A packet of Socket.IO is one, or malformed."""
    text = data.decode(errors="surrogateescape")
    if not well_formed(text):
        return "not well formed"
    try:
        packet = TextPacket(encoded_packet=text[1:])
    except MalformedPacket as error:
        return _VARYING.sub("_", str(error))[:80]
    return f"packet {packet.packet_type} {type(packet.data).__name__}"


BODIES = (
    b'{"command":"a","data":{"k":[1,2.5,"x",null,true]},"id":"i","reply_to":"r","more":1}',
    b'{"command":"a","data":"\\ud83d\\ude00"}',
    b'{"command":"a","data":1e308}',
    b'{"command":"a","data":' + b"[" * 90 + b"]" * 90 + b"}",
    b"[]",
    b"",
)
PAYLOADS = (
    (
        b'create_container {"image":"i","name":"my-flow","environment":{"A":"b"},'
        b'"volumes":{"/a":"/b","/c":{"bind":"/d","mode":"ro"}},"ports":{"80":0,'
        b'"53/udp":5353},"command":["x","y"],'
        b'"working_dir":"/w","labels":{"a":"b"},"user":"1:1","network":"n","resources":{"memory":'
        b'1000000000,"cpus":0.5,"pids":10},"restart":{"policy":"on-crash","max_attempts":3},'
        b'"code_path":"/x","pull":"missing","start":true,"stop_timeout":5,"request_id":"r",'
        b'"health_check":{"check_type":"http","endpoint":"/","port":80,"interval":1}}'
    ),
    (
        b'send_message {"container_id":"abcd","message":{"command":"c","data":[1],"id":"i"},'
        b'"reply":true,"timeout":5}'
    ),
    b'get_container_logs {"container_id":"abcd","tail":10,"since":"2026-01-01T00:00:00Z"}',
    b'update_container {"container_id":"abcd","code_path":"/x"}',
    b'stop_container {"container_id":"abcd","timeout":5}',
    b'list_containers {"labels":{"a":"b"},"state":"running"}',
    *(f'{name} {{"container_id":"abcd"}}'.encode() for name in sorted(OPERATIONS)),
)
PACKETS = (b'42["x",{"a":1}]', b'421["x"]', b'451-["x",{"_placeholder":true,"num":0}]', b"40{}")
TARGETS = {
    "frames": Target(
        [b"".join(len(b).to_bytes(HEADER, "big") + b for b in BODIES), *BODIES],
        mutated,
        check_stream,
    ),
    "bodies": Target(BODIES, mutated, check_body),
    "payloads": Target(PAYLOADS, mutated_json, check_payload),
    "packets": Target([*PACKETS, b"41", b"430[1]", b"2probe", b"1"], mutated, check_packet),
}
