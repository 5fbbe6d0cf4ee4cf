"""Reads pages whose tables name a test for each thing that they say."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from attrs import frozen

ROOT = Path(__file__).parents[2]

REFERENCE = re.compile(r"`([\w/.-]+\.py)::(\w+)`")


@frozen
class Row:
    """One thing that is said, and the tests that stand beside it."""

    said: str
    tests: tuple[tuple[str, str], ...]


def rows(page: str, kind: str) -> Iterator[Row]:
    """The rows of all tables whose columns are a kind of saying and ``tests``."""
    proving = False
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")] if line[:1] == "|" else []
        if not cells:
            proving = False
        elif cells == [kind, "tests"]:
            proving = True
        elif proving and set(line) - set("|- "):
            yield Row(cells[0], tuple(REFERENCE.findall(" | ".join(cells[1:]))))


@cache
def names_of_tests(path: str) -> frozenset[str]:
    """The tests that a file has, in its classes too; none where there is no such file."""
    file = ROOT / path
    if not file.is_file():
        return frozenset()
    found = ast.walk(ast.parse(file.read_text()))
    functions = (
        node for node in found if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    )
    return frozenset(node.name for node in functions if node.name.startswith("test_"))


def faults(page: str, kind: str) -> list[str]:
    """All that is wrong with a page: rows without a test, tests that do not exist."""
    found = [f"no test: {row.said}" for row in rows(page, kind) if not row.tests]
    named = sorted(set(REFERENCE.findall(page)))
    return [
        *found,
        *(f"{path}::{name}" for path, name in named if name not in names_of_tests(path)),
    ]
