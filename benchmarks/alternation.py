"""A and B in turn: what disturbs the machine for a while disturbs them alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping


def alternate(
    measures: Mapping[str, Callable[[], Mapping[str, float]]], rounds: int, *, warm_up: bool = True
) -> dict[str, dict[str, list[float]]]:
    """Measure each in every round, a different one first each time.

    Args:
        measures: by name, each makes the figures of one round.
        warm_up: take one round more at first, which does not count.

    Returns:
        By name and figure, the figures in the order of the rounds.
    """
    names = list(measures)
    found: dict[str, dict[str, list[float]]] = {name: {} for name in names}
    for number in range(0 if warm_up else 1, rounds + 1):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            figures = measures[name]()
            if number:
                for figure, value in figures.items():
                    found[name].setdefault(figure, []).append(value)
    return found
