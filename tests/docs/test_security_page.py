"""The page on security names for each defence a test that exists."""

from __future__ import annotations

import pytest

from tests.docs.proofs import ROOT, faults, rows

PAGE = (ROOT / "docs" / "security.md").read_text()

#: What the page must speak of, whoever edits it.
SECTIONS = ("Who is expected to be hostile", "Where secrets are", "What is not defended")


def test_every_defence_has_a_test_and_every_test_is_there() -> None:
    assert faults(PAGE, "defence") == []
    assert len(list(rows(PAGE, "defence"))) > 30


def test_no_defence_is_named_twice() -> None:
    told = [row.said for row in rows(PAGE, "defence")]
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
        (f"| It holds. | `{HERE}::HERE` |", [f"{HERE}::HERE"]),
    ],
)
def test_a_page_that_promises_too_much_is_found_out(row: str, wrong: list[str]) -> None:
    page = f"| defence | tests |\n| --- | --- |\n{row}\n"
    assert faults(page, "defence") == wrong
