"""What the engine told of a container from outside, and what that says about a run's end.

An exit code alone proves nothing: 137 and 143 come from stops, kills and the engine's own restart
alike. What counts is who asked for it before, and in which order the engine told: ``stop`` follows
``die``, by some 50 ms on Docker.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from signal import SIGINT, SIGKILL, SIGQUIT, SIGTERM

from attrs import define, field, frozen

from flow_manager_core.lifecycle import signal_of
from flow_manager_core.models import Container, EngineEvent, EngineEventKind, EngineInfo

#: Signals that ask a program to end, however it does so; another one must itself have ended it.
POLITE = frozenset({SIGTERM, SIGINT, SIGQUIT})
#: Seconds beyond the stop timeout in which an end still counts as the answer to a signal.
STOP_SLACK = 5.0
#: Seconds in which a program that handles a polite signal may end with a code of its own, without
#: a word of a stop from the engine.
OWN_CODE = 2.0
#: Seconds by which an end may seem to be later than the loss of the engine's events.
BLINK = 0.5
#: Codes that the engine's own end or restart leaves behind: asked politely, killed, lost.
OUTAGE_CODES = frozenset({0, 128 + SIGKILL, 128 + SIGTERM, 255})
#: Those of them that programs hardly ever end with by themselves.
FOREIGN_CODES = OUTAGE_CODES - {0}


class Outside(StrEnum):
    """Whether somebody outside asked a run to end."""

    YES = "yes"
    NO = "no"
    #: The engine's word of a stop, which comes after the end, would settle it.
    PERHAPS = "perhaps"


@frozen
class _Signal:
    at: float
    number: int


@define
class Notes:
    """What was heard of one container, by the engine's clock, the latest last."""

    signals: deque[_Signal] = field(factory=lambda: deque(maxlen=16))
    stopped_at: float = 0.0
    died_at: float = 0.0

    def hear(self, event: EngineEvent) -> None:
        """Take an event; one that was heard before changes nothing."""
        if event.kind is EngineEventKind.SIGNALLED and event.signal is not None:
            signal = _Signal(event.at, event.signal)
            if signal not in self.signals:
                self.signals.append(signal)
        elif event.kind is EngineEventKind.STOPPED:
            self.stopped_at = max(self.stopped_at, event.at)
        elif event.kind is EngineEventKind.DIED:
            self.died_at = max(self.died_at, event.at)

    def asked_outside(self, seen: Container, stop_timeout: float) -> Outside:
        """Whether a run that is over was asked to end by somebody outside.

        Args:
            stop_timeout: seconds that the container gets to end.
        """
        if seen.started_at is None or seen.finished_at is None:
            return Outside.NO
        began, ended = seen.started_at.timestamp(), seen.finished_at.timestamp()
        if self.stopped_at >= ended:
            return Outside.YES
        verdicts = [
            _answers(signal, self._killed_after(signal), ended, seen, stop_timeout)
            for signal in self.signals
            if began <= signal.at <= ended + OWN_CODE
        ]
        return max(verdicts, key=_WEIGHT.index, default=Outside.NO)

    def _killed_after(self, signal: _Signal) -> bool:
        return any(other.number == SIGKILL and other.at >= signal.at for other in self.signals)


_WEIGHT = [Outside.NO, Outside.PERHAPS, Outside.YES]


def _answers(
    signal: _Signal, killed_after: bool, ended: float, seen: Container, stop_timeout: float
) -> Outside:
    """Whether an end is the answer to a signal."""
    if signal.number == SIGKILL:
        return Outside.NO
    waited = ended - signal.at
    if waited > stop_timeout + STOP_SLACK:
        return Outside.PERHAPS
    number = signal_of(seen)
    if number == signal.number:
        return Outside.YES
    if signal.number not in POLITE:
        return Outside.PERHAPS
    if number == SIGKILL:
        # The engine's second step, which it tells of; somebody else's kill it does not know.
        return Outside.YES if killed_after else Outside.NO
    return Outside.YES if seen.exit_code == 0 or waited <= OWN_CODE else Outside.PERHAPS


def ended_by_others(seen: Container) -> bool:
    """Whether a run that nobody was heard to end looks as if somebody had."""
    return seen.exit_code in FOREIGN_CODES and not seen.oom_killed


def killed_on_return(event: EngineEvent, engine: EngineInfo) -> bool:
    """Whether an engine's memory shows that it ended a run before it took requests."""
    if event.kind is not EngineEventKind.SIGNALLED or engine.since is None:
        return False
    return not engine.keeps_flows and event.at < engine.since.timestamp()


def ended_with_engine(
    seen: Container,
    notes: Notes,
    outside: Outside,
    engine: EngineInfo,
    *,
    blind_since: float | None,
    killed_others: bool,
) -> bool:
    """Whether a run ended because the engine did, which began a new life since.

    An engine that is told to end tells of the stops of its runs before it goes; one that was killed
    ends the runs that it finds on its return, before it takes any request, and remembers that.
    What nobody saw nor remembers is judged by its code.

    Args:
        blind_since: when its events were last followed, seconds since the epoch; ``None``: in an
            earlier life of the manager.
        killed_others: it came back after a kill and ended runs, so that it remembers which.
    """
    if engine.keeps_flows or seen.finished_at is None:
        return False
    since = engine.since.timestamp() if engine.since else None
    if outside is Outside.YES:
        told = max([notes.stopped_at, *(signal.at for signal in notes.signals)])
        return since is None or told < since
    ended = seen.finished_at.timestamp()
    unseen = blind_since is not None and ended > blind_since + BLINK
    if killed_others or unseen or (since is not None and ended >= since):
        return False
    return seen.exit_code in OUTAGE_CODES and not seen.oom_killed
