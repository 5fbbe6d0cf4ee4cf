"""What a chaos run does: made from its seed alone, before anything has happened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from random import Random

from attrs import frozen

#: Seconds that a round takes, its fault and its settling included; measured.
ROUND = 15.0
#: Seconds of a round in which steps are begun.
BUSY = 6.0
FLOWS = 6
CLIENTS = 3
EXIT_CODES = (0, 1, 3, 42)


class Action(StrEnum):
    """What is done to one flow."""

    CREATE = "create"
    START = "start"
    STOP = "stop"
    RESTART = "restart"
    UPDATE = "update"
    DELETE = "delete"
    MESSAGE = "message"
    STATUS = "status"
    KILL = "kill its process"
    EXIT = "let it exit"
    STOP_OUTSIDE = "stop it from outside"
    REMOVE_OUTSIDE = "remove it from outside"
    REMOVE_SOCKET = "remove its socket"


#: How often each happens to a flow that is there.
WEIGHTS: Mapping[Action, int] = {
    Action.CREATE: 1,
    Action.START: 3,
    Action.STOP: 3,
    Action.RESTART: 2,
    Action.UPDATE: 3,
    Action.DELETE: 2,
    Action.MESSAGE: 4,
    Action.STATUS: 2,
    Action.KILL: 3,
    Action.EXIT: 3,
    Action.STOP_OUTSIDE: 1,
    Action.REMOVE_OUTSIDE: 1,
    Action.REMOVE_SOCKET: 1,
}


class Trouble(StrEnum):
    """What happens to the whole."""

    MANAGER_KILL = "the manager is killed"
    MANAGER_FREEZE = "the manager is frozen"
    ENGINE_KILL = "the engine is killed"
    ENGINE_TERMINATE = "the engine is asked to end"
    ENGINE_FREEZE = "the engine is frozen"


#: Seconds that each lasts, from and to.
LASTS: Mapping[Trouble, tuple[float, float]] = {
    Trouble.MANAGER_KILL: (0.0, 3.0),
    Trouble.MANAGER_FREEZE: (1.0, 4.0),
    Trouble.ENGINE_KILL: (0.0, 3.0),
    Trouble.ENGINE_TERMINATE: (0.0, 2.0),
    Trouble.ENGINE_FREEZE: (1.0, 12.0),
}

#: The troubles of the rounds, in an order that the seed chooses; one round has two at once.
HANDS: Sequence[Sequence[Trouble]] = (
    (Trouble.MANAGER_KILL,),
    (Trouble.ENGINE_KILL,),
    (Trouble.ENGINE_FREEZE,),
    (Trouble.ENGINE_TERMINATE,),
    (Trouble.MANAGER_FREEZE,),
    (Trouble.MANAGER_KILL, Trouble.ENGINE_KILL),
    (),
)


@frozen
class Step:
    """One thing done to one flow.

    Args:
        at: seconds after the round's begin, at the earliest.
        number: the code's version, or the exit code, where the action has one.
    """

    at: float
    action: Action
    number: int = 0


@frozen
class Event:
    """One trouble.

    Args:
        at: seconds after the round's begin.
        lasts: seconds.
    """

    at: float
    trouble: Trouble
    lasts: float


@frozen
class Round:
    """Some seconds of work and trouble, after which all must come right.

    Args:
        scripts: for each flow its steps, which are made one after the other.
    """

    events: tuple[Event, ...]
    scripts: tuple[tuple[Step, ...], ...]

    def lines(self) -> Iterator[str]:
        """The round as text."""
        for event in self.events:
            yield f"{event.at:5.2f} {event.trouble} for {event.lasts:.1f} s"
        for flow, script in enumerate(self.scripts):
            told = (f"{s.at:.2f} {s.action} {s.number or ''}".strip() for s in script)
            yield f"      flow {flow}: {'; '.join(told)}"


def make_plan(seed: int, seconds: float) -> list[Round]:
    """Plan a run.

    Args:
        seconds: how long it is to take, about.
    """
    random = Random(seed)
    rounds: list[Round] = []
    hands: list[Sequence[Trouble]] = []
    while len(rounds) < max(2, round(seconds / ROUND)):
        hands = hands or random.sample(HANDS, len(HANDS))
        rounds.append(_round(random, hands.pop()))
    return rounds


def _round(random: Random, hand: Sequence[Trouble]) -> Round:
    events = tuple(_event(random, trouble) for trouble in hand)
    return Round(events, tuple(_script(random) for _ in range(FLOWS)))


def _event(random: Random, trouble: Trouble) -> Event:
    least, most = LASTS[trouble]
    at, lasts = random.uniform(1.0, 4.0), random.uniform(least, most)
    return Event(round(at, 2), trouble, round(lasts, 2))


def _script(random: Random) -> tuple[Step, ...]:
    steps: list[Step] = []
    at = random.uniform(0, 0.5)
    # A flow that is not there is made; where the first try is in vain, a later one may not be.
    while at < BUSY:
        action = Action.CREATE if not steps else _drawn(random)
        steps.append(Step(round(at, 2), action, _number(random, action)))
        at += random.expovariate(1 / 0.7)
    return tuple(steps)


def _drawn(random: Random) -> Action:
    return random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]


def _number(random: Random, action: Action) -> int:
    if action is Action.EXIT:
        return random.choice(EXIT_CODES)
    return random.randint(1, 3) if action in (Action.CREATE, Action.UPDATE) else 0
