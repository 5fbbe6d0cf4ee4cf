"""The page on guarantees names for each promise a test that is there."""

from __future__ import annotations

from tests.docs.proofs import ROOT, faults, rows

PAGE = (ROOT / "docs" / "guarantees.md").read_text()


def test_every_promise_has_a_test_and_every_test_is_there() -> None:
    assert faults(PAGE, "promise") == []
    assert len(list(rows(PAGE, "promise"))) > 25


def test_no_promise_is_made_twice() -> None:
    told = [row.said for row in rows(PAGE, "promise")]
    assert sorted(set(told)) == sorted(told)


def test_the_page_says_what_is_not_promised() -> None:
    assert "\n## What is not promised\n" in PAGE
