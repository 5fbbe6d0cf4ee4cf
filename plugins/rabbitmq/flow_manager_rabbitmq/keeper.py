"""Keeps a line to the broker for as long as the frontend lives."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from enum import Enum, auto

import anyio
from anyio.abc import TaskStatus

from flow_manager_core.errors import ConfigurationError
from flow_manager_core.log import Log
from flow_manager_core.models import Fault
from flow_manager_rabbitmq.address import Places
from flow_manager_rabbitmq.calls import BrokerLost
from flow_manager_rabbitmq.line import BrokerRefused, Line
from flow_manager_rabbitmq.settings import RabbitMQSettings

#: Seconds that a line must have held for the delays to begin anew.
_STEADY = 5.0

OnLine = Callable[[Line, int], Awaitable[None]]


class Care(Enum):
    """How commands are taken, after one whose properties cannot be read has ended the line.

    The broker sends it again on every line, so it must be thrown away, and it alone: taken one by
    one, it is the first in the queue when the line ends the next time.
    """

    NONE = auto()
    ONE_BY_ONE = auto()
    DISCARD = auto()


class Keeper:
    """Opens a line, and another when that is lost; tells the log once of each outage.

    Args:
        on_line: puts a new line to use, with the number of commands to take at once.
    """

    def __init__(
        self, places: Places, settings: RabbitMQSettings, log: Log, on_line: OnLine
    ) -> None:
        self._places = places
        self._settings = settings
        self._log = log
        self._on_line = on_line
        self._chance = random.SystemRandom()
        self._delay = settings.reconnect_delay
        self._care = Care.NONE
        self._away_since: float | None = None

    async def run(self, *, task_status: TaskStatus[None]) -> None:
        """Keep a line until cancelled.

        Raises:
            ConfigurationError: the broker refuses the first one.
        """
        line = await self._first()
        task_status.started()
        while True:
            await self._hold(line or await self._another())
            line = None

    async def _first(self) -> Line | None:
        try:
            return await self._open()
        except BrokerRefused as error:
            raise ConfigurationError([Fault("rabbitmq.url", str(error))]) from None
        except BrokerLost as error:
            self._away(str(error))
            return None

    async def _another(self) -> Line:
        while True:
            # Shortened by chance: managers that lost one broker must not come back as one.
            await anyio.sleep(self._delay * (1 - 0.5 * self._chance.random()))
            self._delay = min(2 * self._delay, self._settings.reconnect_limit)
            try:
                return await self._open()
            except BrokerLost as error:
                self._log.debug("RabbitMQ is still away", reason=str(error))

    async def _open(self) -> Line:
        line = Line(self._places, self._settings)
        try:
            await line.open()
            await self._put_to_use(line)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await line.close()
            raise
        self._back()
        return line

    async def _put_to_use(self, line: Line) -> None:
        if self._care is Care.DISCARD:
            self._care = Care.NONE
            self._log.error("A command was thrown away: its properties cannot be read")
            await line.discard_first()
        one_by_one = self._care is Care.ONE_BY_ONE
        await self._on_line(line, 1 if one_by_one else self._settings.prefetch)

    async def _hold(self, line: Line) -> None:
        begun = anyio.current_time()
        try:
            await line.lost.wait()
        finally:
            with anyio.CancelScope(shield=True):
                await line.close()
        if line.unreadable:
            once_more = self._care is Care.ONE_BY_ONE
            self._care = Care.DISCARD if once_more else Care.ONE_BY_ONE
        if line.unreadable or anyio.current_time() - begun > _STEADY:
            self._delay = self._settings.reconnect_delay
        self._away(line.reason)

    def _away(self, reason: str) -> None:
        if self._away_since is None:
            self._away_since = anyio.current_time()
            self._log.warning("RabbitMQ is away", broker=self._places.shown, reason=reason)

    def _back(self) -> None:
        if self._away_since is not None:
            seconds = round(anyio.current_time() - self._away_since, 1)
            self._away_since = None
            self._log.info("RabbitMQ is there again", broker=self._places.shown, after=seconds)
