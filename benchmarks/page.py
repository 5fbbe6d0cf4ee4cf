"""Writes the results into ``docs/performance.md``, between two marks, with the picture beside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.machine import Machine
from benchmarks.plot import plot
from benchmarks.report import markdown
from benchmarks.rows import Row

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE, PICTURE = "performance.md", "performance.svg"
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"


def write_page(rows: Sequence[Row], machine: Machine, folder: Path = DOCS) -> None:
    """Replace the page's results and its picture.

    Raises:
        ValueError: the page lacks a mark.
    """
    page = folder / PAGE
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{page.name} needs the lines {BEGIN} and {END}")
    told = f"\n{markdown(rows)}\n\nMeasured on {machine}.\n"
    page.write_text(f"{before}{begin}{told}{end}{after}")
    plot(rows, folder / PICTURE)
