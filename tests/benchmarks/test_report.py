"""What is told of rows: ratios, met or not, by how much; as a table, on a page, as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.machine import this_machine
from benchmarks.page import BEGIN, DOCS, END, PAGE, PICTURE, write_page
from benchmarks.report import HEADS, as_json, figure, shortfall, table, verdict
from benchmarks.rows import Row

RATE = Row(
    name="rate",
    beside="a relay",
    unit="/s",
    ours=[90, 80, 100],
    theirs=[100, 100, 200],
    target=0.9,
    stretch=1,
    limits="Python",
)
DELAY = Row(
    name="delay",
    beside="an emit",
    unit="ms",
    ours=[2, 3],
    theirs=[2, 2],
    target=1.5,
    at_least=False,
)
SHARE = Row(name="share", beside="", unit="%", ours=[3, 1, 5], target=2, at_least=False)
PLAIN = Row(name="plain", beside="", unit="KiB", ours=[7])
ROWS = [RATE, DELAY, SHARE, PLAIN]


def test_the_verdict_is_the_median_of_each_round_s_own_ratio() -> None:
    assert RATE.ratios == [0.9, 0.8, 0.5]
    assert RATE.verdict == 0.8  # the medians' own ratio would be 0.9
    assert SHARE.verdict == 3


def test_rounds_of_which_one_has_no_other_side_are_no_comparison() -> None:
    with pytest.raises(ValueError, match="shorter"):
        Row(name="", beside="x", unit="", ours=[1, 2], theirs=[1]).verdict  # noqa: B018


@pytest.mark.parametrize(
    ("row", "met", "told"),
    [
        (RATE, False, "no, by 11 %"),
        (DELAY, True, "yes"),
        (SHARE, False, "no, by 50 %"),
        (PLAIN, None, "-"),
    ],
)
def test_a_target_is_met_or_missed_by_so_much(row: Row, met: bool | None, told: str) -> None:
    assert row.met is met
    assert verdict(row) == told
    assert (shortfall(row) > 0) == (met is False)


def test_the_table_has_a_line_for_each_row_and_says_what_limits_it() -> None:
    head, *lines = table(ROWS).splitlines()
    assert head.split() == list(HEADS)
    rate = lines[0].split("  ")
    assert [cell.strip() for cell in rate if cell.strip()] == [
        *("rate", "a relay", "90.0 /s", "100 /s", "0.80", "0.50 to 0.90"),
        *("at least 0.9 (1)", "no, by 11 %"),
    ]
    assert lines[-1] == "rate: Python"


@pytest.mark.parametrize(
    ("value", "told"),
    [(0, "0"), (0.0123, "0.012"), (1.234, "1.23"), (45.67, "45.7"), (9876, "9,876")],
)
def test_a_figure_has_the_digits_that_count(value: float, told: str) -> None:
    assert figure(value) == told


def test_json_holds_every_round_and_the_machine() -> None:
    machine = this_machine(0.5)
    found = json.loads(json.dumps(as_json(ROWS, machine, {"idle": "no engine"})))
    assert found["machine"]["cores"] >= 1
    assert found["machine"]["load_before"] == 0.5
    assert found["machine"]["parts"]["anyio"]
    assert found["unmeasured"] == {"idle": "no engine"}
    rate, delay, *_ = found["rows"]
    assert rate["ours"] == [90, 80, 100]
    assert (rate["median"], rate["least"], rate["most"]) == (0.8, 0.5, 0.9)
    assert (rate["met"], delay["met"]) == (False, True)
    assert rate["missed_by"] == pytest.approx(0.111, abs=0.001)


def test_the_page_s_results_are_written_anew_and_its_words_stay(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="NOT TESTED: the picture (dependency group bench)")
    page = tmp_path / PAGE
    page.write_text(f"# Speed\n\n{BEGIN}\nold\n{END}\n\nWords.\n")
    write_page([RATE], this_machine(0), tmp_path)
    text = page.read_text()
    assert text.startswith("# Speed\n")
    assert text.endswith("\n\nWords.\n")
    assert "| rate | a relay | 90.0 /s | 100 /s | 0.80 |" in text
    assert "old" not in text
    assert (tmp_path / PICTURE).stat().st_size > 0


def test_the_project_s_own_page_can_be_renewed() -> None:
    page = (DOCS / PAGE).read_text()
    assert page.index(BEGIN) < page.index(END)
    assert f"]({PICTURE})" in page


def test_a_page_without_marks_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / PAGE
    page.write_text("# Speed\n")
    with pytest.raises(ValueError, match="results: begin"):
        write_page([RATE], this_machine(0), tmp_path)
    assert page.read_text() == "# Speed\n"
