"""One module's rows by themselves, printed as they come."""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Iterable

from benchmarks.rows import Row

ROUNDS = 5
_MARKS = {None: "", True: "met", False: "NOT MET"}


def main(rows: Callable[[int, bool], Iterable[Row]]) -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"that count ({ROUNDS})")
    parser.add_argument("--quick", action="store_true", help="see whether it works at all")
    asked = parser.parse_args()
    for row in rows(asked.rounds, asked.quick):
        sys.stdout.write(line_of(row) + "\n")
        sys.stdout.flush()


def line_of(row: Row) -> str:
    """A row for a terminal: the verdict with its spread, then the figures' medians."""
    judged = row.ratios if row.theirs else row.ours
    told = f"{row.name:<42} {row.verdict:8.3f} ({min(judged):.3f} to {max(judged):.3f})"
    if row.theirs:
        ours, theirs = statistics.median(row.ours), statistics.median(row.theirs)
        told += f"  {ours:,.4g} beside {theirs:,.4g} of {row.beside}"
    return f"{told}, {row.unit} {_MARKS[row.met]}".rstrip()
