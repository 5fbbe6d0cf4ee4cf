"""The search for canaries finds a leak that is planted, however it is written."""

from __future__ import annotations

import base64
import html
import json
import sqlite3
import urllib.parse
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.security.canaries import PART, Canary, missing, sweep

WRITTEN: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "in JSON": json.dumps,
    "in JSON that is not ASCII": lambda value: json.dumps(value, ensure_ascii=False),
    "by Python's repr": repr,
    "by Python's repr of an exception": lambda value: repr(ValueError(f"bad {value}")),
    "on a line of the log": lambda value: value.encode("unicode_escape").decode(),
    "in a URL": urllib.parse.quote,
    "in a URL, wholly quoted": lambda value: urllib.parse.quote(value, safe=""),
    "in a form": urllib.parse.quote_plus,
    "in HTML": html.escape,
    "in base64": lambda value: base64.b64encode(value.encode()).decode(),
    "in base64, behind one character": lambda v: base64.b64encode(f"u{v}".encode()).decode(),
    "in base64, behind two": lambda v: base64.b64encode(f"u:{v}:rest".encode()).decode(),
    "in base64 for URLs": lambda value: base64.urlsafe_b64encode(value.encode()).decode(),
    "in hexadecimal": lambda value: value.encode().hex(),
    "in capitals": str.upper,
    "cut after its first half": lambda value: value[: len(value) // 2],
    "cut before its second half": lambda value: value[len(value) // 2 :],
}
each_way = pytest.mark.parametrize("write", list(WRITTEN.values()), ids=list(WRITTEN))


@pytest.fixture(params=[False, True], ids=["plain", "awkward"])
def canary(request: pytest.FixtureRequest) -> Canary:
    return Canary.fresh("the secret", "file:home", awkward=request.param)


@each_way
def test_a_leak_is_found_however_it_is_written(write: Callable[[str], str], canary: Canary) -> None:
    text = f"before {write(canary.value)} after".encode()
    (leak,) = sweep([("log:7", text), ("log:8", b"quiet")], {"": canary})
    assert leak.startswith("the secret in log:7: ")


def test_a_leak_is_found_in_the_bytes_of_a_database(canary: Canary, tmp_path: Path) -> None:
    path = tmp_path / "base"
    with closing(sqlite3.connect(path)) as base:
        base.execute("PRAGMA journal_mode=WAL")
        base.execute("CREATE TABLE kept (body TEXT)")
        base.execute("INSERT INTO kept VALUES (?)", (canary.value,))
        base.commit()
        files = [(f"file:{each.name}", each.read_bytes()) for each in tmp_path.iterdir()]
        assert sweep(files, {"": canary})


def test_other_secrets_and_short_pieces_are_no_leak(canary: Canary) -> None:
    others = [Canary.fresh("another").value, canary.value[: PART // 2], "", "0" * 100]
    assert sweep([("log", other.encode()) for other in others], {"": canary}) == []


def test_a_canary_at_home_is_no_leak_and_one_that_was_never_there_proves_nothing(
    canary: Canary,
) -> None:
    table = {"": canary}
    assert missing(table) == ["the secret was not seen in file:home"]
    assert sweep([("file:home", canary.value.encode())], table) == []
    assert missing(table) == []
