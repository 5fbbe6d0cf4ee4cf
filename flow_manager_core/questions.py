"""Questions that wait for one flow's answers, each with its deadline.

One task watches over all deadlines of a channel: a timer and a cancel scope for each question cost
more than all else that is done for it, and nearly every answer comes in time.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from itertools import count
from math import inf
from time import monotonic

import anyio

from flow_manager_core.errors import ChannelError, ChannelTimeout, FlowManagerError
from flow_manager_core.models import Message

#: Questions of clients that may wait for one flow's answers at the same time.
QUESTIONS = 1000


#: Makes what is raised; each waits for an error of its own, which callers add to.
Failure = Callable[[], FlowManagerError]


class Question:
    """One that waits.

    Args:
        key: its id.
        timeout: seconds from now.
        settled: set at the end of the wait.
    """

    __slots__ = ("_outcome", "_settled", "deadline", "key", "timeout")

    def __init__(self, key: str, timeout: float, settled: anyio.Event) -> None:
        self.key: str = key
        self.timeout: float = timeout
        self.deadline: float = monotonic() + timeout
        self._settled = settled
        self._outcome: Message | FlowManagerError | None = None

    def settle(self, outcome: Message | FlowManagerError) -> bool:
        """End the wait; tell whether it had not ended before."""
        if self._outcome is not None:
            return False
        self._outcome = outcome
        self._settled.set()
        return True

    async def answer(self) -> Message:
        """Wait for the answer.

        Raises:
            ChannelTimeout: it did not come in time.
            FlowManagerError: there will be none, for another reason.
        """
        await self._settled.wait()
        if isinstance(self._outcome, Message):
            return self._outcome
        assert self._outcome is not None
        raise self._outcome


class Questions:
    """Those that wait for one flow."""

    def __init__(self) -> None:
        self._waiting: dict[str, Question] = {}
        # Random, so that a late answer to an earlier life's question finds none of this life's.
        self._prefix = f"fm-{secrets.token_hex(4)}-"
        self._numbers = count(1)
        self._closed: Failure | None = None
        self._next_look = inf
        self._sooner = anyio.Event()
        # Of this event loop's own class; for `anyio.Event` it is looked up each time, for 1 µs.
        self._event = type(self._sooner)

    def register(self, key: str | None, timeout: float) -> Question:
        """Begin to wait.

        Args:
            key: its id; ``None``: it is given one.
            timeout: seconds.

        Raises:
            ChannelError: too many wait already, or one with this id does.
            FlowManagerError: what `close` was given.
        """
        if self._closed is not None:
            raise self._closed()
        key = key or f"{self._prefix}{next(self._numbers)}"
        if key in self._waiting:
            raise ChannelError(f"A question with the id {key} already waits for its answer")
        if len(self._waiting) >= QUESTIONS:
            raise ChannelError(f"{QUESTIONS} questions already wait for this flow", retryable=True)
        question = self._waiting[key] = Question(key, timeout, self._event())
        if question.deadline < self._next_look:
            self._next_look = question.deadline
            self._sooner.set()
        return question

    def forget(self, question: Question) -> None:
        """It waits no more; an answer that comes now is a message like others."""
        del self._waiting[question.key]

    def answered_by(self, message: Message) -> bool:
        """Whether a message is the answer that one of them waits for; if so, it has it now."""
        question = self._waiting.get(message.reply_to) if message.reply_to else None
        return question is not None and question.settle(message)

    def fail(self, failure: Failure) -> None:
        """There will be no answers to those that wait now."""
        for question in self._waiting.values():
            question.settle(failure())

    def close(self, failure: Failure) -> None:
        """Take no more, and fail those that wait."""
        self._closed = failure
        self.fail(failure)

    async def watch(self) -> None:
        """Fail those that wait for too long, until cancelled. Only the latest watch does."""
        while True:
            self._sooner = anyio.Event()
            with anyio.move_on_after(max(0, self._next_look - monotonic())):
                await self._sooner.wait()
            self._next_look = self._look()

    def _look(self) -> float:
        """Fail those that are overdue; return when the next one will be."""
        now, following = monotonic(), inf
        for question in self._waiting.values():
            if question.deadline <= now:
                told = f"The flow did not answer within {question.timeout:g} s"
                question.settle(ChannelTimeout(told))
            else:
                following = min(following, question.deadline)
        return following
