"""The rows as a picture: for each an interval around its target, in the target's own measure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

from benchmarks.report import figure, samples, target
from benchmarks.rows import Row

MET, MISSED = "#2a7f62", "#b3412e"
#: Inches: of the whole width, and of a row's height.
WIDTH, HEIGHT = 9.0, 0.42
#: Ratios that are marked.
TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20)


@attrs.frozen
class Interval:
    """A row as a multiple of its target; above 1 it is met, whichever way the target goes."""

    row: Row
    low: float
    median: float
    high: float


def interval(row: Row) -> Interval:
    """Turn a row so that more is better.

    Raises:
        ValueError: it has no target.
    """
    wanted = row.target
    if wanted is None:
        raise ValueError(f"{row.name} has no target")

    def turned(value: float) -> float:
        return value / wanted if row.at_least else wanted / value

    found = sorted(map(turned, samples(row)))
    return Interval(row, found[0], turned(row.verdict), found[-1])


def plot(rows: Sequence[Row], path: Path) -> None:
    """Write a picture; the file's ending says of which kind (``.svg``, ``.png``).

    Rows without a target are left out.

    Raises:
        ImportError: there is no matplotlib (dependency group ``bench``).
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    found = [interval(row) for row in rows if row.target is not None]
    # The same rows make the same file: no date, no random names; texts stay texts.
    with mpl.rc_context({"svg.hashsalt": "rows", "svg.fonttype": "none"}):
        picture = Figure(figsize=(WIDTH, 1.2 + HEIGHT * len(found)), layout="constrained")
        _draw(picture.subplots(), found)
        dated: dict[str, Any] = {"Date": None} if path.suffix == ".svg" else {}
        picture.savefig(path, metadata=dated)


def _draw(axes: Any, found: Sequence[Interval]) -> None:
    for place, each in enumerate(found):
        color = MET if each.row.met else MISSED
        axes.plot([each.low, each.high], [place, place], color=color, linewidth=5, alpha=0.4)
        axes.plot([each.median], [place], "o", color=color)
        told = f"{figure(each.row.verdict)} ({target(each.row)})"
        axes.annotate(
            told,
            (each.high, place),
            (8, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )
    ends = [end for each in found for end in (each.low, each.high)]
    low, high = min([0.5, *ends]) / 1.2, max([2.0, *ends]) * 3
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    ticks = [tick for tick in TICKS if low <= tick <= high]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_yticks(range(len(found)), [each.row.name for each in found])
    axes.invert_yaxis()
    axes.set_xlabel("how many times as good as the target: median, least and most of the rounds")
