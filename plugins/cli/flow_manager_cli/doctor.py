"""``flow-manager doctor``: what is amiss on this machine, and what to do about it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import anyio

from flow_manager_core.configuration import Configuration, read_configuration
from flow_manager_core.doctor import Report, Result, examine, known_checks, repaired
from flow_manager_core.models import Fault
from flow_manager_core.service import CONFIGURATION_EXIT, event_loop_options, tell_faults

#: Characters of a check's status and name in a line.
STATUS, NAME = 8, 19


def consult(
    given: Mapping[str, Any],
    environ: Mapping[str, str],
    say: Callable[[str], None],
    *,
    only: Sequence[str],
    images: Sequence[str],
    fix: bool,
    as_json: bool,
) -> int:
    """Run the checks for the settings that ``serve`` would have, and return the exit code.

    Returns:
        0: nothing is amiss; 1: warnings; 2: errors, or `only` names a check that is not there.
    """
    configuration = read_configuration(given, environ)
    if strangers := _strangers(configuration, only):
        tell_faults(strangers)
        return CONFIGURATION_EXIT

    async def run() -> Report:
        found = await examine(configuration, only=only, images=images)
        return await repaired(found) if fix else found

    report = anyio.run(run, backend_options=event_loop_options())
    lines = [json.dumps(report.to_json(), indent=2, default=str)] if as_json else told(report)
    for line in lines:
        say(line)
    return report.exit_code


def list_checks(
    given: Mapping[str, Any], environ: Mapping[str, str], say: Callable[[str], None]
) -> int:
    """Print the name of each check, where it comes from, and what it asks."""
    for source, check in known_checks(read_configuration(given, environ).host):
        say(f"{check.name:<{NAME}} {source:<22} {check.asks}")
    return 0


def told(report: Report) -> Iterator[str]:
    """One line a check; then each finding, with what to do and what was done."""
    for result in report.results:
        yield _printable(f"{result.status:<{STATUS}} {result.name:<{NAME}} {_summary(result)}")
    for result in report.results:
        for number, finding in result.amiss:
            yield ""
            yield _printable(f"{finding.severity}: {result.name}: {finding.found}")
            yield from (_printable(f"    | {line}") for line in finding.lines)
            yield _printable(f"    to do: {finding.remedy}")
            mending = dict(result.mended).get(number)
            if mending is not None:
                what = "fixed" if mending.done else "not fixed"
                yield _printable(f"    {what}: {mending.told}")


def _summary(result: Result) -> str:
    if result.skipped:
        return f"not examined: {result.skipped}"
    if not result.amiss:
        return "; ".join(finding.found for finding in result.findings)
    first = result.amiss[0][1].found
    return first if len(result.amiss) == 1 else f"{first} (and {len(result.amiss) - 1} more)"


def _strangers(configuration: Configuration, only: Sequence[str]) -> list[Fault]:
    names = {check.name for _, check in known_checks(configuration.host)}
    told_ = "there is no such check; flow-manager doctor --list names them"
    return [Fault(f"--only {name}", told_) for name in only if name not in names]


def _printable(text: str) -> str:
    """What a program or a folder is called must not act upon the terminal that shows it."""
    return "".join(c if c.isprintable() else "?" for c in text)
