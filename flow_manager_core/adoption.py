"""Gives records their channels, and takes in containers that an earlier life has made."""

from __future__ import annotations

from flow_manager_core.channel import Channel
from flow_manager_core.contracts import Transport
from flow_manager_core.errors import FlowManagerError
from flow_manager_core.lifecycle import shown_state
from flow_manager_core.log import get_log
from flow_manager_core.models import Container, Message
from flow_manager_core.registry import ContainerRecord, Registry
from flow_manager_core.reporter import ChannelReporter, ErrorBody, Reporter
from flow_manager_core.terms import NAME, read_terms
from flow_manager_core.trace import for_nobody


class Channels:
    """Opens and closes the channel of each record.

    Args:
        frame_limit: bytes of one message's JSON.
        error_body: the chosen error format.
    """

    def __init__(
        self, transport: Transport, reporter: Reporter, frame_limit: int, error_body: ErrorBody
    ) -> None:
        self._transport = transport
        self._reporter = reporter
        self._frame_limit = frame_limit
        self._error_body = error_body
        self._log = get_log("channel")

    async def open(self, record: ContainerRecord, *, seen_before: bool = False) -> None:
        """Listen for the record's program.

        Raises:
            ChannelError: the transport cannot.
        """
        listener = ChannelReporter(record, self._reporter)
        channel = Channel(listener, self._frame_limit, self._error_frame)
        if seen_before:
            channel.assume_seen()
        with for_nobody():
            record.endpoint = await self._transport.open(record.name, channel.serve)
        record.channel = channel

    async def close(self, record: ContainerRecord, *, remove: bool) -> None:
        """Stop listening; `remove` takes away every trace. A failure of that is logged."""
        endpoint, record.endpoint = record.endpoint, None
        if record.channel is not None:
            record.channel.end("the container was deleted" if remove else "closed by the manager")
        if endpoint is None:
            return
        try:
            await endpoint.close(remove=remove)
        except Exception:  # noqa: BLE001  # the container is gone, and its name must be free again
            self._log.exception("A channel could not be taken away", address=endpoint.address)

    def _error_frame(self, error: FlowManagerError) -> Message:
        return Message("error", dict(self._error_body(error)))


class Adopter:
    """Takes in containers that carry our label and that the registry does not know."""

    def __init__(self, registry: Registry, channels: Channels) -> None:
        self._registry = registry
        self._channels = channels
        self._log = get_log("adoption")

    async def adopt(self, container: Container) -> None:
        """Make a record of a container, open its channel, and take its state as known.

        Does nothing while a create of this name is under way: it will admit its container itself.

        Raises:
            ChannelError: the channel cannot be opened.
        """
        name = container.labels.get(NAME, container.name)
        if self._registry.has_name(name):
            return
        record = ContainerRecord(name, read_terms(container.labels))
        self._registry.reserve(record)
        # Before its flow can connect: what is told of that names the container.
        self._registry.admit(record, container)
        record.state = shown_state(container, asked=False)
        record.wanted_up = record.state.alive
        try:
            await self._channels.open(record, seen_before=container.state.alive)
        except BaseException:
            self._registry.drop(record)
            raise
        self._log.info(
            "Container operation: adopt",
            container_id=record.short_id,
            name=name,
            state=record.state,
        )

    async def release(self, record: ContainerRecord) -> None:
        """Let go of a container that is gone: its channel, its socket, its record."""
        await self._channels.close(record, remove=True)
        self._registry.drop(record)
