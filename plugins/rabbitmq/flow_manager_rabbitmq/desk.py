"""Commands in: each is carried out, answered, and only then acknowledged to the broker."""

from __future__ import annotations

from datetime import UTC, datetime

import aio_pika
import anyio
from aiormq.abc import DeliveredMessage
from anyio.abc import TaskGroup

from flow_manager_core.contracts import Gateway
from flow_manager_core.errors import FlowManagerError, InvalidRequest, ShuttingDown, SystemFault
from flow_manager_core.log import Log
from flow_manager_core.models import Answer, Client
from flow_manager_rabbitmq import jsontext
from flow_manager_rabbitmq.calls import BrokerLost
from flow_manager_rabbitmq.commands import Command, Outcome, Outcomes
from flow_manager_rabbitmq.line import Line
from flow_manager_rabbitmq.settings import RabbitMQSettings

FRONTEND = "rabbitmq"
JSON = "application/json"

#: Seconds at close for the broker to stop sending, for commands to be answered, and for those
#: that get cancelled to be answered as well.
_STOPPING, _ANSWERING, _CANCELLING = 0.2, 0.5, 0.2


class Desk:
    """Takes the commands of every line, one after the other.

    All of them are one session's: on one container they keep the queue's order.

    Args:
        group: carries the commands out.
        client: what the queue is called.
    """

    def __init__(
        self, gateway: Gateway, settings: RabbitMQSettings, client: str, group: TaskGroup, log: Log
    ) -> None:
        self._gateway = gateway
        self._settings = settings
        self._group = group
        self._log = log
        self._session = gateway.session(Client(FRONTEND, client, name=FRONTEND, role=settings.role))
        self._outcomes = Outcomes(2 * settings.prefetch)
        self._line: Line | None = None
        self._closing = False
        self._active: set[anyio.CancelScope] = set()
        self._idle = anyio.Event()

    async def take_up(self, line: Line, prefetch: int) -> None:
        """Have commands delivered by a new line.

        Raises:
            BrokerLost: it is of no use.
        """

        async def on_command(delivery: DeliveredMessage) -> None:
            # What is not taken here goes back to the queue when the line ends.
            if not self._closing:
                self._group.start_soon(self._handle, line, delivery)

        self._line = line
        if not self._closing:
            await line.consume(on_command, prefetch)

    async def stop(self) -> None:
        """Take no more commands: they wait in the queue for the manager's next life."""
        self._closing = True
        line, self._line = self._line, None
        if line is None or line.lost.is_set():
            return
        try:
            with anyio.move_on_after(_STOPPING):
                await line.stop()
        except BrokerLost as error:
            line.break_off(str(error))

    async def close(self) -> None:
        """Answer what is under way; fail by name what takes too long."""
        await self.stop()
        await self._until_idle(_ANSWERING)
        for scope in list(self._active):
            scope.cancel()
        await self._until_idle(_CANCELLING)

    async def _until_idle(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            while self._active:
                self._idle = anyio.Event()
                await self._idle.wait()

    async def _handle(self, line: Line, delivery: DeliveredMessage) -> None:
        """Everything up to the session happens at once, so that commands keep their order."""
        command = Command.of(delivery, self._settings.max_command_bytes)
        outcome, known = self._outcomes.of(command)
        scope = anyio.CancelScope()
        self._active.add(scope)
        try:
            if not known:
                await self._carry_out(command, outcome, scope)
            await self._conclude(line, command, await outcome.get())
        except BrokerLost as error:
            # Not acknowledged, so it comes again by another line.
            line.break_off(f"a command could not be answered: {error}")
        finally:
            self._active.discard(scope)
            self._idle.set()

    async def _carry_out(
        self, command: Command, outcome: Outcome, scope: anyio.CancelScope
    ) -> None:
        answer = self._failed(ShuttingDown("The service is closing"), command)
        try:
            with scope:
                answer = await self._answer(command)
        finally:
            outcome.set(answer)

    async def _answer(self, command: Command) -> Answer:
        if command.faults:
            return self._failed(InvalidRequest(command.faults), command)
        try:
            return await self._session.answer(command.name, command.payload)
        except Exception as error:  # noqa: BLE001 - without an answer it would come again for ever
            self._log.error("Command failed", error=repr(error), exc_info=error)
            return self._failed(SystemFault("The request failed unexpectedly"), command)

    def _failed(self, error: FlowManagerError, command: Command) -> Answer:
        error.about(operation=command.name)
        if command.message_id:
            error.about(request_id=command.message_id)
        return Answer("error", self._gateway.error_body(error))

    async def _conclude(self, line: Line, command: Command, answer: Answer) -> None:
        if command.reply_to:
            message = self._message(command, answer)
            if not await line.answer(message, command.reply_to):
                self._log.info("Nobody waits for an answer", operation=command.name)
        await line.acknowledge(command.tag)
        self._outcomes.acknowledged(command)

    def _message(self, command: Command, answer: Answer) -> aio_pika.Message:
        event, body = answer.event, self._written(command, answer)
        if body is None:
            fault = self._failed(SystemFault("The answer cannot be sent"), command)
            event, body = fault.event, jsontext.write(fault.body)
        return aio_pika.Message(
            body,
            content_type=JSON,
            type=event,
            correlation_id=command.correlation_id,
            delivery_mode=aio_pika.DeliveryMode(command.delivery_mode),
            timestamp=datetime.now(UTC),
        )

    def _written(self, command: Command, answer: Answer) -> bytes | None:
        """The answer's body; nothing if it is no JSON or over the broker's limit."""
        try:
            body = jsontext.write(answer.body)
        except (TypeError, ValueError, RecursionError) as error:
            self._log.error("Answer is no JSON", operation=command.name, error=repr(error))
            return None
        if len(body) > self._settings.max_answer_bytes:
            self._log.error("Answer too large", operation=command.name, bytes=len(body))
            return None
        return body
