"""Runs one module of the suite: for the suite in a process of its own, for a person with a table.

    python -m benchmarks.one NAME [--rounds 5] [--quick]

prints each row as a line of JSON as soon as it is there. `alone` is what a module runs that is
started by itself.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from types import FrameType
from typing import NoReturn

import attrs

from benchmarks.report import table
from benchmarks.rows import Row

#: What every module exports, called ``rows``: the number of rounds, and whether to be quick.
Measure = Callable[[int, bool], Iterator[Row]]


def options(told: str) -> argparse.ArgumentParser:
    """A parser of what all runs have.

    Args:
        told: a docstring; its first line is shown.
    """
    parser = argparse.ArgumentParser(description=told.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="of each comparison (5)")
    parser.add_argument("--quick", action="store_true", help="only to see that it works")
    return parser


def alone(measure: Measure, told: str | None) -> None:
    """Measure and print the table; what a module does that is started by itself."""
    end_in_order()
    asked = options(told or "").parse_args()
    sys.stdout.write(f"{table(list(measure(asked.rounds, asked.quick)))}\n")


def end_in_order() -> None:
    """Make SIGTERM unwind what was begun, as Ctrl-C does."""
    signal.signal(signal.SIGTERM, _leave)


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def main() -> None:
    """Read the arguments, measure, print."""
    end_in_order()
    parser = options(__doc__ or "")
    parser.add_argument("name", help="a module of the suite")
    asked = parser.parse_args()
    measure: Measure = import_module(f"benchmarks.{asked.name}").rows
    for row in measure(asked.rounds, asked.quick):
        sys.stdout.write(f"{json.dumps(attrs.asdict(row))}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
