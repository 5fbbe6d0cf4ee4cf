"""The page on security names for each defence a test that exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from attrs import frozen

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()

REFERENCE = re.compile(r"`([\w/.-]+\.py)::(\w+)`")
#: The columns of a table that must prove what it says.
COLUMNS = ["defence", "tests"]
#: What the page must speak of, whoever edits it.
SECTIONS = ("Who is expected to be hostile", "Where secrets are", "What is not defended")


@frozen
class Row:
    """One defence, and the tests that stand beside it."""

    defence: str
    tests: tuple[tuple[str, str], ...]


def rows(page: str) -> Iterator[Row]:
    """The rows of all tables of defences."""
    proving = False
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")] if line[:1] == "|" else []
        if not cells:
            proving = False
        elif cells == COLUMNS:
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


def faults(page: str) -> list[str]:
    """All that is wrong with a page: defences without a test, tests that do not exist."""
    found = [f"no test: {row.defence}" for row in rows(page) if not row.tests]
    named = sorted(set(REFERENCE.findall(page)))
    return [
        *found,
        *(f"{path}::{name}" for path, name in named if name not in names_of_tests(path)),
    ]


def test_every_defence_has_a_test_and_every_test_is_there() -> None:
    assert faults(PAGE) == []
    assert len(list(rows(PAGE))) > 30


def test_no_defence_is_named_twice() -> None:
    told = [row.defence for row in rows(PAGE)]
    assert sorted(set(told)) == sorted(told)


@pytest.mark.parametrize("section", SECTIONS)
def test_the_page_says_who_where_and_what_not(section: str) -> None:
    assert f"\n## {section}" in PAGE


HERE = "tests/docs/test_security_page.py"


@pytest.mark.parametrize(
    ("row", "wrong"),
    [
        (f"| It holds. | `{HERE}::test_no_defence_is_named_twice` |", []),
        ("| It holds. | by the look of it |", ["no test: It holds."]),
        (f"| It holds. | `{HERE}::test_nothing` |", [f"{HERE}::test_nothing"]),
        ("| It holds. | `tests/none.py::test_x` |", ["tests/none.py::test_x"]),
        (f"| It holds. | `{HERE}::faults` |", [f"{HERE}::faults"]),
    ],
)
def test_a_page_that_promises_too_much_is_found_out(row: str, wrong: list[str]) -> None:
    assert faults(f"| defence | tests |\n| --- | --- |\n{row}\n") == wrong
