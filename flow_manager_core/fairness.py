"""Fairness: a channel that talks without pause gives way to whoever has little to say.

All channels are read on one event loop. The rule has three parts:

1. A channel may keep the loop busy for `SLICE` seconds; more adds up unless it is silent four times
   as long as it has talked. Then it is *busy*, and gives way. Busy channels give way one after
   the other, so all of them together get one slice in a round of the loop.
2. Before it goes on, what it has said is taken by those who listen (`keep_up`), so that no
   neighbour's message stands in line behind thousands of its messages.
3. While somebody else talks (somebody has, within `RECENT` seconds: a client, or a flow whose
   channel is not busy), the loop rests after a slice for as long as that has taken, with all that
   listeners made of it: busy channels get half of the loop. With nobody else there, there is no
   rest: one flow alone gets all that the loop can do.

What a client waits for does not count: answers are no more than were asked for, and who rests
between them keeps whoever asked waiting.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import monotonic

import anyio
import anyio.lowlevel

#: Seconds that a channel may keep the loop: some thirty small messages. A client's question and its
#: answer cross the loop six or seven times, so they lose a few slices at most.
SLICE = 0.0005
#: Seconds between two slices while others talk, at least and at most; asyncio's timers cannot do
#: less.
REST, LONGEST_REST = 0.001, 0.005
#: Seconds for which one who has talked counts as talking.
RECENT = 0.2
#: Of each second of silence, what makes good for talking before.
FORGIVEN = 0.25


class Fairness:
    """What all channels of a manager share.

    Args:
        keep_up: waits until listeners have taken what was said so far, but not for long.
    """

    def __init__(self, keep_up: Callable[[], Awaitable[None]] | None = None) -> None:
        self._keep_up = keep_up or anyio.lowlevel.checkpoint
        self._turn = anyio.Lock(fast_acquire=True)
        self._talked_at = -RECENT
        self._went_on_at = 0.0

    def somebody_talks(self) -> None:
        """Note that there is somebody to give way to."""
        self._talked_at = monotonic()

    async def give_way(self) -> None:
        """Wait until it is a busy channel's turn to have another slice."""
        async with self._turn:
            await self._keep_up()
            now = monotonic()
            if now - self._talked_at < RECENT:
                await anyio.sleep(min(max(REST, now - self._went_on_at), LONGEST_REST))
            else:
                await anyio.lowlevel.checkpoint()
            self._went_on_at = monotonic()


class Share:
    """One connection's part of the loop."""

    def __init__(self, fairness: Fairness) -> None:
        self._fairness = fairness
        self._spent = 0.0
        self._since = monotonic()
        #: Whether it has had to give way, and has not been silent long enough since.
        self.busy: bool = False

    def listening(self) -> None:
        """The connection waits for the flow from now on."""
        self._since = monotonic()

    def heard(self) -> None:
        """The wait is over: the flow has talked."""
        now = monotonic()
        self._spent -= (now - self._since) * FORGIVEN
        self._since = now
        if self._spent <= 0:
            self._spent, self.busy = 0.0, False

    async def spend(self) -> None:
        """A frame was dealt with; give way if the slice is over."""
        now = monotonic()
        self._spent += now - self._since
        self._since = now
        if self._spent > SLICE:
            self.busy = True
            await self._fairness.give_way()
            self._spent, self._since = 0.0, monotonic()

    def grant(self) -> None:
        """A frame was dealt with that a client waits for: that is not talking without pause."""
        self._since = monotonic()

    def others_notice(self) -> None:
        """Have busy channels give way to what is said over this one."""
        if not self.busy:
            self._fairness.somebody_talks()
