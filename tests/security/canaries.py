"""Secrets that can be found again wherever they went, in whatever spelling."""

from __future__ import annotations

import base64
import html
import json
import secrets
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatch
from functools import cached_property
from urllib.parse import quote, quote_plus

from attrs import define, field

#: Characters of a secret's part that is looked for by itself: a text that was cut is told of too.
PART = 12
#: What programs write differently in JSON, in Python, in URLs and on a line of the log.
AWKWARD = "\"'\\ %&é\n\t"
#: Characters beside a find that a failing test shows.
AROUND = 60


@define(slots=False)
class Canary:
    """One secret.

    Args:
        homes: where it must be; patterns of places, as `sweep` has them.
    """

    name: str
    value: str
    homes: tuple[str, ...] = ()
    found: set[str] = field(factory=set)

    @classmethod
    def fresh(cls, name: str, *homes: str, awkward: bool = False) -> Canary:
        """Make one; `awkward` ones have characters that are written in many ways."""
        core = secrets.token_hex(PART)
        return cls(name, f"{core}{AWKWARD}{core}" if awkward else core, homes)

    @cached_property
    def needles(self) -> frozenset[bytes]:
        """Every spelling of it that is looked for."""
        return frozenset(spellings(self.value))

    def in_(self, data: bytes) -> bytes | None:
        """What surrounds it in some bytes; nothing if it is not there."""
        for needle in self.needles:
            at = data.find(needle)
            if at >= 0:
                return data[max(0, at - AROUND) : at + len(needle) + AROUND]
        return None

    def at_home(self, place: str) -> bool:
        """Whether it may be there."""
        return any(fnmatch(place, home) for home in self.homes)


def spellings(value: str) -> Iterator[bytes]:
    """A text as JSON, Python, URLs, HTML, base64, hexadecimal and UTF-16 have it, and its parts."""
    texts = {
        value,
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        repr(value)[1:-1],
        value.encode("unicode_escape").decode(),
        quote(value),
        quote(value, safe=""),
        quote_plus(value),
        html.escape(value),
        value.lower(),
        value.upper(),
        *(value[start : start + PART] for start in range(0, len(value) - PART + 1, PART)),
    }
    for text in texts:
        yield text.encode()
    for encoding in ("utf-16-le", "utf-16-be"):
        yield value.encode(encoding)
    yield value.encode().hex().encode()
    for shift in range(3):
        yield _inside_base64(value.encode(), shift)
        yield _inside_base64(value.encode(), shift).translate(bytes.maketrans(b"+/", b"-_"))


def _inside_base64(raw: bytes, shift: int) -> bytes:
    """The characters that stand for nothing but these bytes, with so many others before them."""
    encoded = base64.b64encode(b"\0" * shift + raw).rstrip(b"=")
    end = len(encoded) - 1 if (shift + len(raw)) % 3 else len(encoded)
    return encoded[(0, 2, 3)[shift] : end]


def sweep(places: Iterable[tuple[str, bytes]], canaries: Mapping[str, Canary]) -> list[str]:
    """Look for every canary in every place; return a line for each that is not at home.

    A canary notes where it was found.
    """
    leaks = []
    for place, data in places:
        for canary in canaries.values():
            around = canary.in_(data)
            if around is None:
                continue
            canary.found.add(place)
            if not canary.at_home(place):
                leaks.append(f"{canary.name} in {place}: {around!r}")
    return leaks


def missing(canaries: Mapping[str, Canary]) -> list[str]:
    """Name the homes at which a canary was never seen: there, the search has proved nothing."""
    return [
        f"{canary.name} was not seen in {home}"
        for canary in canaries.values()
        for home in canary.homes
        if not any(fnmatch(place, home) for place in canary.found)
    ]
