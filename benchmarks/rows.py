"""One line of the table: a quantity of ours beside its limit, in alternating rounds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from attrs import frozen


@frozen(kw_only=True)
class Row:
    """What was measured in the rounds of one comparison.

    Args:
        name: what, in a few words, with its size (``round trip, 50 clients``).
        beside: what it is measured beside.
        unit: of the two columns of figures.
        ours, theirs: a figure for each round, in the order of the rounds; `theirs` is empty where
            there is nothing to stand beside, and `ours` is then held against the target itself.
        target: the ratio (or figure) that is asked for.
        at_least: whether it must be at least that, or at most.
        stretch: what we would like, in the same sense.
        limits: one sentence: what limits this row.
    """

    name: str
    beside: str
    unit: str
    ours: Sequence[float]
    theirs: Sequence[float] = ()
    target: float | None = None
    at_least: bool = True
    stretch: float | None = None
    limits: str = ""

    @property
    def ratios(self) -> Sequence[float]:
        """Ours to theirs, round by round."""
        return [ours / theirs for ours, theirs in zip(self.ours, self.theirs, strict=True)]

    @property
    def verdict(self) -> float:
        """The median that the target is about."""
        return statistics.median(self.ratios if self.theirs else self.ours)

    @property
    def met(self) -> bool | None:
        """Whether the target is met; ``None`` where there is none."""
        if self.target is None:
            return None
        return self.verdict >= self.target if self.at_least else self.verdict <= self.target
