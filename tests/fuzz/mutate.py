"""Makes new inputs of old ones: bytes by bytes, JSON by its tree."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Sequence
from typing import Any

#: Bytes of an input.
LONGEST = 8192
TOKENS = (
    *(b"\0\0\0\0", b"\0\0\0\1", b"\0\0\0\x40", b"\0\0\0\x41", b"\0\0\4\0", b"\0\0\4\1"),
    *(b"\xff\xff\xff\xff", b"{}", b"[]", b'"', b"\\", b"\\ud800", b"\\udc00", b"\xed\xa0\x80"),
    *(b"NaN", b"-Infinity", b"1e999", b"9" * 400, b"[" * 120, b"null", b"true", b'"command"'),
    *(b'"id":', b'"reply_to":', b":", b",", b"0", b"42", b"451-", b"2/,", b'["x",', b"\x1e"),
)
VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        2**31,
        2**63,
        10**400,
        -(10**4200),
        1e999,
        math.nan,
        0.5,
        "",
        " ",
        "x",
    ),
    *("\0", "\n", "\x1b[31m", "\ud800", "é", "../x", "/", "/proc", "a" * 600, "$(id)", "__class__"),
    *([], {}, [[]], {"": None}, ["x", 1], {"bind": "/x", "mode": "ro"}, "80/udp", "1e3"),
)


def mutated(chance: random.Random, data: bytes, other: bytes) -> bytes:
    """Change bytes in one to four ways; `other` gives material."""
    for _ in range(chance.randint(1, 4)):
        data = chance.choice(WAYS)(chance, data, other)
    return data[:LONGEST]


def _flip(chance: random.Random, data: bytes, _other: bytes) -> bytes:
    found = bytearray(data or b"\0")
    found[chance.randrange(len(found))] ^= 1 << chance.randrange(8)
    return bytes(found)


def _insert(chance: random.Random, data: bytes, _other: bytes) -> bytes:
    at = chance.randint(0, len(data))
    return data[:at] + chance.choice(TOKENS) + data[at:]


def _replace(chance: random.Random, data: bytes, _other: bytes) -> bytes:
    start = chance.randint(0, len(data))
    return data[:start] + chance.choice(TOKENS) + data[start + chance.randint(1, 8) :]


def _cut(chance: random.Random, data: bytes, _other: bytes) -> bytes:
    start = chance.randint(0, len(data))
    return data[:start] + data[start + chance.randint(1, 40) :]


def _join(chance: random.Random, data: bytes, other: bytes) -> bytes:
    return data[: chance.randint(0, len(data))] + other[chance.randint(0, len(other)) :]


def _repeat(chance: random.Random, data: bytes, _other: bytes) -> bytes:
    start = chance.randint(0, len(data))
    end = start + chance.randint(1, 64)
    return data[:end] + data[start:end] * chance.randint(1, 20) + data[end:]


def _frame(_chance: random.Random, data: bytes, other: bytes) -> bytes:
    return data + len(other).to_bytes(4, "big") + other


Way = Callable[[random.Random, bytes, bytes], bytes]
WAYS: Sequence[Way] = (_flip, _insert, _replace, _cut, _join, _repeat, _frame)


def mutated_json(chance: random.Random, data: bytes, other: bytes) -> bytes:
    """Change a line ``operation JSON`` somewhere in its tree; `other` is another such line."""
    name, _, text = data.partition(b" ")
    tree = json.loads(text)
    for _ in range(chance.randint(1, 4)):
        donor = json.loads(other.partition(b" ")[2])
        tree = _changed(chance, tree, donor)
    made = name + b" " + json.dumps(tree).encode()
    return made if len(made) <= LONGEST else data


def _changed(chance: random.Random, tree: Any, donor: Any) -> Any:
    """The tree with one place changed; goes down at random."""
    if isinstance(tree, dict) and tree and chance.random() < 0.8:
        key = chance.choice(sorted(tree))
        return _changed_object(chance, tree, key, donor)
    if isinstance(tree, list) and tree and chance.random() < 0.8:
        at = chance.randrange(len(tree))
        return [*tree[:at], _changed(chance, tree[at], donor), *tree[at + 1 :]]
    return chance.choice((donor, tree, *VALUES))


def _changed_object(chance: random.Random, tree: dict[str, Any], key: str, donor: Any) -> Any:
    kind = chance.randrange(4)
    if kind == 0 and isinstance(donor, dict):
        return {**tree, **donor}
    if kind == 1:
        return {k: v for k, v in tree.items() if k != key}
    if kind == 2:
        return {**tree, chance.choice(("", "x", key + "x", "\ud800", "a\nb")): tree[key]}
    return {**tree, key: _changed(chance, tree[key], donor)}
