"""Gives records their channels, takes in containers that an earlier life has made, clears up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
from attrs import evolve

from flow_manager_core.channel import Channel
from flow_manager_core.contracts import Transport
from flow_manager_core.desired import MAKING, Desired
from flow_manager_core.durable.post import Post
from flow_manager_core.errors import FlowManagerError
from flow_manager_core.fairness import Fairness
from flow_manager_core.ledger import Ledger, monotonic_ends
from flow_manager_core.lifecycle import shown_state
from flow_manager_core.lines import LineMaker
from flow_manager_core.log import get_log
from flow_manager_core.models import Container, ContainerState, Message
from flow_manager_core.news import News
from flow_manager_core.registry import ContainerRecord, Registry
from flow_manager_core.reporter import ChannelReporter, Reporter
from flow_manager_core.settings import Settings
from flow_manager_core.terms import NAME, Terms, read_terms
from flow_manager_core.trace import for_nobody


class Channels:
    """Opens and closes the channel of each record.

    Args:
        settings: of them, the limit of a frame and the heartbeat's interval count.
        on_end: told when a channel went down.
        lines: what makes the lines of a container's channel.
    """

    def __init__(
        self,
        transport: Transport,
        reporter: Reporter,
        settings: Settings,
        on_end: Callable[[ContainerRecord], None],
        lines: Callable[[ContainerRecord], LineMaker],
    ) -> None:
        self._transport = transport
        self._reporter = reporter
        self._settings = settings
        self._on_end = on_end
        self._lines = lines
        self._fairness = Fairness(reporter.keep_up)
        self._log = get_log("channel")

    def somebody_asks(self) -> None:
        """A client has a request: channels that talk without pause give way to it."""
        self._fairness.somebody_talks()

    async def open(self, record: ContainerRecord, *, seen_before: bool = False) -> None:
        """Listen for the record's program.

        Raises:
            ChannelError: the transport cannot.
        """
        listener = ChannelReporter(record, self._reporter, self._on_end)
        channel = Channel(
            listener,
            self._settings.frame_limit,
            self._error_frame,
            heartbeat=self._settings.heartbeat_interval,
            fairness=self._fairness,
            lines=self._lines(record),
        )
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
        return Message("error", dict(self._reporter.error_body(error)))


class Adopter:
    """Takes in containers that carry our label and that the registry does not know.

    Args:
        grace: seconds of answering in which an engine may still finish a create whose outcome is
            not known.
        discard: takes away what a restore laid under a container, by the container's key.
        post: what waits for containers that are no more.
    """

    def __init__(
        self,
        registry: Registry,
        channels: Channels,
        ledger: Ledger,
        news: News,
        grace: float,
        *,
        discard: Callable[[str], Awaitable[None]],
        post: Post,
    ) -> None:
        self._discard = discard
        self._post = post
        self._registry = registry
        self._news = news
        self._channels = channels
        self._ledger = ledger
        self._grace = grace
        self._absent_since: dict[str, float] = {}
        self._log = get_log("adoption")

    async def adopt(self, container: Container) -> ContainerRecord | None:
        """Make a record of a container, and open its channel.

        A run whose end nobody was told of is taken to be under way, so that the next look finds it.
        ``None`` while a create of this name is under way: it will admit its container itself.

        Raises:
            ChannelError: the channel cannot be opened.
        """
        name = container.labels.get(NAME, container.name)
        if self._registry.has_name(name):
            return None
        record = ContainerRecord(name, read_terms(container.labels))
        self._registry.reserve(record)
        desired = self._ledger.entry_of(container, name, record.terms)
        self._recall(record, container, desired)
        self._news.about(container.id)
        # Before its flow can connect: what is told of that names the container.
        self._registry.admit(record, record.container or container)
        try:
            await self._channels.open(record, seen_before=record.state.alive)
        except BaseException:
            self._registry.drop(record)
            self._ledger.strays[desired.key] = desired
            raise
        self._log.info(
            "Container operation: adopt",
            container_id=record.short_id,
            name=name,
            state=record.state,
            wish=desired.wish,
        )
        return record

    def _recall(self, record: ContainerRecord, container: Container, desired: Desired) -> None:
        """Know of a container what the last life knew."""
        record.desired = desired
        record.uptimes, record.ends = list(desired.uptimes), monotonic_ends(desired)
        record.engine_life = self._ledger.life
        untold = container.state.ended and container.started_at != desired.ended_run
        record.container = evolve(container, state=ContainerState.RUNNING) if untold else container
        record.state = shown_state(record.container, asked=desired.ended_asked)

    async def release(self, record: ContainerRecord) -> None:
        """Let go of a container that is gone: its channel, its socket, its record."""
        await self._channels.close(record, remove=True)
        self._registry.drop(record)
        await self._post.end(record.id)
        if record.terms.restored:
            await self._discard(record.desired.key)
        await self._ledger.forget(record.desired.key)

    async def sweep(self, listed: set[str]) -> None:
        """Clear up after what the ledger knows and the engine does not have.

        Args:
            listed: the ids that it has.
        """
        for desired in list(self._ledger.strays.values()):
            if desired.container_id not in listed and not self._may_come(desired):
                await self._clear_up(desired)
        await self._post.sweep(listed | {record.id for record in self._registry})

    def _may_come(self, desired: Desired) -> bool:
        """Whether the engine may still make it."""
        if desired.job not in MAKING or desired.container_id:
            return False
        since = self._absent_since.setdefault(desired.key, anyio.current_time())
        return anyio.current_time() - since < self._grace

    async def _clear_up(self, desired: Desired) -> None:
        """Take away the socket of a container that is no more, and its entry."""
        if not self._registry.has_name(desired.name):
            record = ContainerRecord(desired.name, Terms())
            try:
                await self._channels.open(record)
                await self._channels.close(record, remove=True)
            except FlowManagerError as error:
                self._log.warning("A socket is left", name=desired.name, error=error.message)
        self._absent_since.pop(desired.key, None)
        await self._discard(desired.key)
        await self._ledger.forget(desired.key)
        self._log.info(
            "Container operation: forget",
            container_id=desired.container_id[:12],
            name=desired.name,
        )
