"""Measures what the project promises of its speed, each quantity beside its limit.

    python -m benchmarks [--rounds 5] [--only NAME ...] [--quick]
                         [--json FILE] [--plot FILE] [--write-docs]

Exits with 1 if a module gave no figures; a target that is missed is told, and is no failure.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from attrs import field, frozen

from benchmarks.engine import NoEngine, any_engine, image_of, small_image_of
from benchmarks.machine import Machine, load, this_machine
from benchmarks.one import end_in_order, options
from benchmarks.page import write_page
from benchmarks.plot import plot
from benchmarks.report import as_json, table
from benchmarks.rows import Row
from benchmarks.suite import MODULES, NAMES, Module, Unmeasured, is_there, measured


@frozen
class Results:
    """The rows of all modules, and why some modules have none."""

    rows: list[Row] = field(factory=list)
    unmeasured: dict[str, str] = field(factory=dict)


def say(line: str) -> None:
    """Tell how far it is, beside the results."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def shared_engine(stack: ExitStack, modules: Sequence[Module]) -> Mapping[str, str]:
    """Start one engine for all modules that need one; return the variables that name it.

    Without an engine these modules fail, each by itself, and the others are run.
    """
    if not any(module.engine and is_there(module) for module in modules):
        return {}
    try:
        engine = stack.enter_context(any_engine())
    except NoEngine as error:
        say(str(error))
        return {}
    image_of(engine)
    small_image_of(engine)
    return {"DOCKER_HOST": engine.url}


def run(results: Results, modules: Sequence[Module], rounds: int, *, quick: bool) -> None:
    """Run modules one after the other; one that fails is no reason to leave the rest."""
    with ExitStack() as stack:
        environ = shared_engine(stack, modules)
        for module in modules:
            began = time.monotonic()
            try:
                for row in measured(module, rounds, environ, quick=quick):
                    results.rows.append(row)
            except Unmeasured as error:
                results.unmeasured[module.name] = str(error)
            say(results.unmeasured.get(module.name) or _took(module, began))


def _took(module: Module, began: float) -> str:
    return f"{module.name}: {time.monotonic() - began:.0f} s"


def arguments() -> Any:
    """Read the command line."""
    parser = options(__doc__ or "")
    parser.add_argument("--only", nargs="+", choices=NAMES, metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there, too")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw them: .svg or .png")
    parser.add_argument("--write-docs", action="store_true", help="renew docs/performance.md")
    return parser.parse_args()


def tell(results: Results, machine: Machine, asked: Any) -> None:
    """Print the results, and write them where that was asked for."""
    sys.stdout.write(f"{table(results.rows)}\n\n{machine}\n")
    for why in results.unmeasured.values():
        sys.stdout.write(f"not measured: {why}\n")
    if asked.json:
        found = as_json(results.rows, machine, results.unmeasured)
        asked.json.write_text(f"{json.dumps(found, indent=2)}\n")
    if asked.plot:
        plot(results.rows, asked.plot)


def main() -> int:
    """Measure, and tell; return the exit code."""
    end_in_order()
    asked = arguments()
    before = load()
    chosen = [module for module in MODULES if asked.only is None or module.name in asked.only]
    results = Results()
    try:
        run(results, chosen, asked.rounds, quick=asked.quick)
    finally:
        # What was measured is told also of a run that was ended.
        machine = this_machine(before)
        tell(results, machine, asked)
    if asked.write_docs:
        write_page(results.rows, machine)
    return 1 if results.unmeasured else 0


if __name__ == "__main__":
    sys.exit(main())
