"""Send a message to a flow, and wait for its answer if asked to."""

from __future__ import annotations

from typing import Any

from flow_manager_core.errors import FlowNotConnected
from flow_manager_core.models import Message
from flow_manager_core.registry import ContainerRecord
from flow_manager_core.reporter import log_message
from flow_manager_core.requests import SendMessage
from flow_manager_core.services import Services
from flow_manager_core.turns import Turn


async def send_message(
    services: Services, record: ContainerRecord, request: SendMessage, turn: Turn
) -> dict[str, Any]:
    """Write the message; the turn ends with that, so that answers may overtake one another."""
    channel = record.channel
    if channel is None or not channel.connected:
        raise FlowNotConnected(
            f"The flow is not connected (the container is {record.state})",
            container_id=record.short_id,
        )
    timeout = request.timeout or services.settings.message_timeout

    def sent(key: str | None) -> None:
        turn.release()
        log_message("sent", record, message, key)
        services.metrics.message("sent")
        services.reporter.note(
            record, "message_sent", f"Message sent: {message.command}", command=message.command
        )

    message = request.message.message()
    if not request.reply:
        await channel.send(message, timeout)
        sent(message.id)
        return _answer(record, message)
    reply = await channel.ask(message, timeout, sent)
    return {**_answer(record, message), "reply": reply.to_json()}


def _answer(record: ContainerRecord, message: Message) -> dict[str, Any]:
    return {"container_id": record.short_id, "message": message.to_json(), "status": "sent"}
