"""Samples into figures, and figures into a table for people."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from attrs import frozen


@frozen
class Figures:
    """One measured quantity: its median and its spread.

    Args:
        low, high: the first and the last decile.
    """

    name: str
    unit: str
    count: int
    median: float
    low: float
    high: float
    least: float
    most: float

    def row(self) -> list[str]:
        """The cells of its line in the table."""
        numbers = (self.median, self.low, self.high, self.least, self.most)
        return [self.name, self.unit, str(self.count), *(f"{number:.2f}" for number in numbers)]


def figures(name: str, unit: str, samples: Sequence[float]) -> Figures:
    """Sum up at least one sample."""
    few = len(samples) == 1
    deciles = [samples[0]] * 9 if few else statistics.quantiles(samples, n=10, method="inclusive")
    return Figures(
        name=name,
        unit=unit,
        count=len(samples),
        median=statistics.median(samples),
        low=deciles[0],
        high=deciles[-1],
        least=min(samples),
        most=max(samples),
    )


def table(rows: Sequence[Figures]) -> str:
    """The figures, aligned for a terminal."""
    heads = ["", "unit", "n", "median", "10 %", "90 %", "least", "most"]
    lines: list[list[Any]] = [heads, *(row.row() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    return "\n".join(
        f"{line[0]:<{widths[0]}}  "
        + "  ".join(f"{cell:>{width}}" for cell, width in zip(line[1:], widths[1:], strict=True))
        for line in lines
    )
