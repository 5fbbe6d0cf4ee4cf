"""The crashes that a run caused, held against those that were told."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from attrs import evolve, frozen

from tests.chaos.plan import Trouble
from tests.chaos.world import ENGINE, World

#: Seconds around a kill of the manager in which a crash may be told twice, or not at all: it is
#: told first and written down after, and what was told may not have left the process.
AROUND_A_KILL = 1.0


@frozen
class Caused:
    """A program's end that the run brought about, and that is a crash.

    Args:
        container_id: as clients are shown it.
        began_at: when it was about to be caused, by the monotonic clock.
        ended_at: when the program was seen to be gone.
        killed: whether by SIGKILL, which the engine's own end may also be.
        certain: whether nothing else that was asked for may have ended the program.
        asked: whether it is no crash, but the engine was asked for it from outside: only a manager
            and an engine that were both killed right after cannot know that.
    """

    container_id: str
    began_at: float
    ended_at: float
    killed: bool
    certain: bool
    asked: bool = False


class Crashes:
    """The book of them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._caused: list[Caused] = []
        self._told: Counter[str] = Counter()
        #: Containers that were removed by force while they ran: the engine kills them first.
        self._forced: Counter[str] = Counter()

    def cause(self, caused: Caused) -> None:
        """Note one."""
        self._caused.append(caused)

    def overtaken(self, container_id: str, seconds: float) -> None:
        """Somebody asks for an end: what ended in the last seconds may be told as that."""
        since = time.monotonic() - seconds
        self._caused = [
            evolve(one, certain=False)
            if one.container_id == container_id and one.ended_at > since
            else one
            for one in self._caused
        ]

    def force(self, container_id: str) -> None:
        """Note a removal by force, whose kill may be seen before the removal is."""
        self._forced[container_id] += 1

    def tell(self, container_id: str) -> None:
        """Note that one was told."""
        self._told[container_id] += 1

    def missed(self) -> list[str]:
        """Those that should have been told by now."""
        least = self._count(lambda caused: self._bounds(caused)[0])
        return [
            f"{key}: {self._told[key]} crashes told, {count} caused"
            for key, count in least.items()
            if self._told[key] < count
        ]

    def false(self) -> list[str]:
        """Those that nobody caused."""
        most = self._count(lambda caused: self._bounds(caused)[1]) + self._forced
        return [
            f"{key}: {count} crashes told, at most {most[key]} caused"
            for key, count in self._told.items()
            if count > most[key]
        ]

    def _count(self, weight: Callable[[Caused], int]) -> Counter[str]:
        counter: Counter[str] = Counter()
        for caused in self._caused:
            counter[caused.container_id] += weight(caused)
        return counter

    def _bounds(self, caused: Caused) -> tuple[int, int]:
        """How often it must and may be told."""
        if caused.asked:
            return 0, int(self._near_a_kill(caused))
        if self._near_a_kill(caused):
            return 0, 2
        if not caused.certain or (caused.killed and self._with_the_engine(caused)):
            return 0, 1
        return 1, 1

    def _near_a_kill(self, caused: Caused) -> bool:
        return any(
            window.trouble is Trouble.MANAGER_KILL
            and caused.began_at <= window.began_at + AROUND_A_KILL
            and window.began_at - AROUND_A_KILL <= caused.ended_at
            for window in self._world.windows
        )

    def _with_the_engine(self, caused: Caused) -> bool:
        """Whether the engine was away: it may itself have killed what was killed."""
        return any(
            window.trouble in ENGINE
            and window.ends_flows
            and caused.began_at <= window.ended_at
            and window.began_at <= caused.ended_at
            for window in self._world.windows
        )
