"""Rows for people and for programs: a table, a page's table, JSON."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from benchmarks.machine import Machine
from benchmarks.rows import Row

HEADS = ("what", "beside", "ours", "theirs", "median", "spread", "target", "met")


def figure(value: float) -> str:
    """A number with three digits that count."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 0.1 else f"{value:.2g}"


def samples(row: Row) -> Sequence[float]:
    """What the verdict is the median of: ratios, or figures where there is nothing beside."""
    return row.ratios if row.theirs else row.ours


def shortfall(row: Row) -> float:
    """By how much of the target it is missed: 0.2 for 20 %; 0 where it is met or there is none."""
    if row.target is None or row.met:
        return 0.0
    return abs(row.verdict - row.target) / row.target


def verdict(row: Row) -> str:
    """Whether the target is met, and by how much it is not."""
    if row.met is None:
        return "-"
    return "yes" if row.met else f"no, by {100 * shortfall(row):.0f} %"


def target(row: Row) -> str:
    """The target in words, and what we would like."""
    if row.target is None:
        return "-"
    told = f"{'at least' if row.at_least else 'at most'} {row.target:g}"
    return told if row.stretch is None else f"{told} ({row.stretch:g})"


def cells(row: Row) -> Sequence[str]:
    """Its line of the table, under `HEADS`."""
    found = samples(row)
    theirs = f"{figure(statistics.median(row.theirs))} {row.unit}" if row.theirs else "-"
    return (
        row.name,
        row.beside or "-",
        f"{figure(statistics.median(row.ours))} {row.unit}",
        theirs,
        figure(row.verdict),
        f"{figure(min(found))} to {figure(max(found))}",
        target(row),
        verdict(row),
    )


def table(rows: Sequence[Row]) -> str:
    """For a terminal: the rows, and then what limits each."""
    lines = [HEADS, *map(cells, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADS))]
    told = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    limits = [f"{row.name}: {row.limits}" for row in rows if row.limits]
    return "\n".join([*told, "", *limits] if limits else told)


def markdown(rows: Sequence[Row]) -> str:
    """For a page."""
    lines = [HEADS, ["---"] * len(HEADS), *map(cells, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def as_json(
    rows: Sequence[Row], machine: Machine, unmeasured: Mapping[str, str]
) -> Mapping[str, Any]:
    """For programs: all rounds, and what comes of them.

    Args:
        unmeasured: modules that gave no rows, and why.
    """
    return {
        "machine": attrs.asdict(machine),
        "rows": [_row(row) for row in rows],
        "unmeasured": dict(unmeasured),
    }


def _row(row: Row) -> Mapping[str, Any]:
    found = samples(row)
    return {
        **attrs.asdict(row),
        "ratios": list(row.ratios) if row.theirs else [],
        "median": row.verdict,
        "least": min(found),
        "most": max(found),
        "met": row.met,
        "missed_by": shortfall(row),
    }
