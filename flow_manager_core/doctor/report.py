"""What came of an examination, and the mending of what can be mended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
from attrs import evolve, frozen

from flow_manager_core.errors import FlowManagerError
from flow_manager_core.findings import Finding, Severity, in_thread

#: How bad each is.
RANKS = {Severity.OK: 0, Severity.WARNING: 1, Severity.ERROR: 2}
#: What became of a check that could not be made.
SKIPPED = "skipped"
#: Seconds for one thing that is mended.
MENDING = 30.0


@frozen
class Mending:
    """What came of a finding's fix: what it did, or why it could not."""

    done: bool
    told: str


@frozen(kw_only=True)
class Result:
    """One check's.

    Args:
        source: ``core``, or the provider's qualified name.
        skipped: why it was not made.
        mended: by the finding's number in `findings`.
    """

    name: str
    source: str
    findings: tuple[Finding, ...] = ()
    skipped: str = ""
    mended: tuple[tuple[int, Mending], ...] = ()

    @property
    def standing(self) -> tuple[Finding, ...]:
        """The findings that nobody has mended."""
        done = {number for number, mending in self.mended if mending.done}
        return tuple(one for number, one in enumerate(self.findings) if number not in done)

    @property
    def severity(self) -> Severity:
        """The worst of what stands."""
        return _worst([one.severity for one in self.standing])

    @property
    def status(self) -> str:
        """The severity, or that it was not made."""
        return SKIPPED if self.skipped else self.severity.value

    @property
    def amiss(self) -> tuple[tuple[int, Finding], ...]:
        """What was found besides that things are well, with its number."""
        return tuple(
            (number, one)
            for number, one in enumerate(self.findings)
            if one.severity is not Severity.OK
        )


@frozen
class Report:
    """All results, in the order in which they are told."""

    results: tuple[Result, ...]

    @property
    def severity(self) -> Severity:
        """The worst of all."""
        return _worst([result.severity for result in self.results])

    @property
    def exit_code(self) -> int:
        """0: nothing is amiss, 1: warnings, 2: errors."""
        return RANKS[self.severity]

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        checks = [_result(result) for result in self.results]
        return {"status": self.severity.value, "checks": checks}


async def repaired(report: Report) -> Report:
    """Do what the findings' fixes do, one after the other, and say what came of it."""
    return Report(tuple([await _mended(result) for result in report.results]))


async def _mended(result: Result) -> Result:
    done = [
        (number, await _mend(finding))
        for number, finding in result.amiss
        if finding.fix is not None
    ]
    return evolve(result, mended=tuple(done))


async def _mend(finding: Finding) -> Mending:
    assert finding.fix is not None
    try:
        with anyio.fail_after(MENDING):
            return Mending(True, await in_thread(finding.fix))
    except TimeoutError:
        return Mending(False, f"it was not done within {MENDING:g} seconds")
    except FlowManagerError as problem:
        return Mending(False, problem.message)
    except Exception as problem:  # noqa: BLE001  # a plugin's; told, and the next one's turn
        return Mending(False, f"{type(problem).__name__}: {problem}")


def _worst(found: Sequence[Severity]) -> Severity:
    return max(found, key=RANKS.__getitem__, default=Severity.OK)


def _result(result: Result) -> dict[str, Any]:
    mended = dict(result.mended)
    return {
        "name": result.name,
        "source": result.source,
        "status": result.status,
        "skipped": result.skipped or None,
        "findings": [_finding(f, mended.get(n)) for n, f in enumerate(result.findings)],
    }


def _finding(finding: Finding, mending: Mending | None) -> dict[str, Any]:
    return {
        "severity": finding.severity.value,
        "found": finding.found,
        "remedy": finding.remedy or None,
        "lines": list(finding.lines),
        "details": dict(finding.details),
        "fixable": finding.fix is not None,
        "fixed": mending.told if mending and mending.done else None,
        "not_fixed": mending.told if mending and not mending.done else None,
    }
