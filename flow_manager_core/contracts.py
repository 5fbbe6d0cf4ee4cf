"""The seams: what a provider must do, and what it may count on.

A class with several methods is an ABC; a part that does one thing is a `Protocol`. A backend's
optional abilities are small interfaces of their own: a backend that has one inherits from it as
well. They are written down in `abilities` and `snapshots`, and to be imported from here.

Every method that talks to something outside carries a deadline of its own, raises only
`FlowManagerError`, and leaves cancellation alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, Protocol

from anyio.abc import ByteStream

from flow_manager_core.abilities import (
    Addressable,
    CodeStore,
    CommandRunner,
    EventMemory,
    HostPaths,
    ImagePuller,
    LogStreamer,
    Onlooker,
    ResourceMeter,
)
from flow_manager_core.errors import FlowManagerError
from flow_manager_core.events import Event
from flow_manager_core.models import (
    Answer,
    Attachment,
    Client,
    Container,
    ContainerSpec,
    CreatePlan,
    EngineEvent,
    EngineInfo,
    Fault,
    GiveUp,
    ListedContainer,
    LogLine,
    RecoveryHistory,
    Restart,
    RestartPolicy,
)
from flow_manager_core.selection import EVERYTHING, Position, Selection
from flow_manager_core.snapshots import PartSink, PartSource, Snapshots

__all__ = [
    "Addressable",
    "CodeStore",
    "CommandRunner",
    "ConnectionHandler",
    "ContainerBackend",
    "Endpoint",
    "ErrorFormat",
    "EventMemory",
    "Feed",
    "Frontend",
    "Gateway",
    "HostPaths",
    "ImagePuller",
    "LogStreamer",
    "Onlooker",
    "Outlet",
    "PartSink",
    "PartSource",
    "Position",
    "RecoveryPolicy",
    "ResourceMeter",
    "Selection",
    "Session",
    "Snapshots",
    "Transport",
]


class ContainerBackend(ABC):
    """Makes, runs and watches containers on one engine, for one instance of the manager.

    It sees only containers that carry its instance's label. Ids are the engine's full ids.
    Methods may be called at the same time for different containers; the manager makes at most one
    changing call at a time for one container.
    """

    #: Whether containers have a file system of their own. If so, a channel is mounted into them;
    #: if not, programs use the host's paths.
    isolated: bool = True

    @abstractmethod
    async def ping(self) -> EngineInfo:
        """Ask the engine whether it is there, and which life of it this is.

        Asks over a connection of its own, so that an engine that is closing, and takes no more
        of them, is seen to be away; other calls, however slow, do not hold it up.

        Raises:
            EngineUnavailable: it does not answer, or not in time.
        """

    @abstractmethod
    def unsupported(self, spec: ContainerSpec) -> Sequence[Fault]:
        """Name the fields of a spec that this engine cannot honour; empty when it can."""

    @abstractmethod
    async def create(self, plan: CreatePlan) -> Container:
        """Make a container without starting it.

        Raises:
            ImageNotFound: the engine does not have the image.
            EngineError: the name is in use, or the engine refuses.
            EngineUnavailable: no answer; unless its `unsent` is true, the container may exist, or
                come to exist.
        """

    @abstractmethod
    async def start(self, container_id: str) -> None:
        """Start a run; does nothing when one is under way.

        Raises:
            ContainerNotFound: there is no such container.
            EngineError: the start failed (port is already allocated, no such command); the
                container's state is as before.
        """

    @abstractmethod
    async def stop(self, container_id: str, timeout: float) -> None:
        """Ask the program to end, kill it after `timeout` seconds; return once it has ended.

        Does nothing when it does not run.

        Raises:
            ContainerNotFound: there is no such container.
        """

    @abstractmethod
    async def remove(self, container_id: str) -> None:
        """Remove a container and all that the engine made for it, killing a run under way.

        Raises:
            ContainerNotFound: there is no such container.
        """

    @abstractmethod
    async def inspect(self, container_id: str) -> Container:
        """Look at one container, now.

        Raises:
            ContainerNotFound: there is no such container.
        """

    @abstractmethod
    async def list(self) -> Sequence[ListedContainer]:
        """List this instance's containers, in one cheap call."""

    @abstractmethod
    async def logs(
        self, container_id: str, *, tail: int | None, since: datetime | None
    ) -> Sequence[LogLine]:
        """Read the output, oldest first: the last `tail` lines, those at or after `since`."""

    @abstractmethod
    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[EngineEvent]]:
        """Follow the engine's events, from the moment of entering on.

        The iterator ends, or raises `EngineError`, when events may have been lost; the caller
        watches again and compares. Within one container the order is the engine's.
        """


#: What a transport calls with each connection, in a task of the transport's.
ConnectionHandler = Callable[[ByteStream], Awaitable[None]]


class Endpoint(ABC):
    """The manager's end of one container's channel: flows connect to it, again and again."""

    #: Where it is, as shown to clients (a path, an address).
    address: str

    @abstractmethod
    def attachment(self, *, isolated: bool) -> Attachment:
        """Say what a container needs to find this endpoint.

        It is the same for every life of the manager: a container keeps what it was made with.

        Args:
            isolated: `ContainerBackend.isolated` of the backend that will make the container.
        """

    @abstractmethod
    async def close(self, *, remove: bool) -> None:
        """Stop listening and end the connections; `remove` also takes away every trace."""


class Transport(ABC):
    """Gives every container a channel of its own, over a byte stream."""

    @abstractmethod
    def unsupported(self, name: str) -> Sequence[Fault]:
        """Say why there can be no channel for a container of this name; empty when there can."""

    @abstractmethod
    async def open(self, name: str, handler: ConnectionHandler) -> Endpoint:
        """Listen for one container's program.

        Each connection is handed to `handler` in a task of the transport's, and closed when the
        handler returns. What a previous life of the manager left behind is taken over.

        Raises:
            ChannelError: the place is taken or cannot be used.
        """


class RecoveryPolicy(Protocol):
    """Decides what follows a run's end. Pure but for chance: it does no I/O and keeps no state.

    Requests' engine calls that failed for a passing reason are tried again by the same policy.
    """

    def decide(self, history: RecoveryHistory, restart: RestartPolicy) -> Restart | GiveUp:
        """Say when to start again, or that it is of no use.

        It is asked in the event loop, so it takes no longer than a millisecond or two, also for a
        thousand ended runs. One that raises, or answers anything else, has given up.

        Args:
            history: at least one ended run. An end may seem to be later than those after it: the
                host's clock may have been set while there was no manager.
            restart: the container's own wish; `max_attempts` overrides the policy's.
        """


class ErrorFormat(Protocol):
    """Turns a failure into the object that clients get; pure.

    A format may have an attribute `media_type`, what HTTP calls its bodies; without one they are
    ``application/json``. Whatever a failure's message and details hold, the body is JSON that
    every language reads: `wire.plain` makes such of anything, `wire.standard_format` uses it.
    Where a format raises or returns something else, clients get the standard format.
    """

    def __call__(self, error: FlowManagerError, at: datetime) -> Mapping[str, Any]:
        """Return a JSON object.

        Args:
            at: when the failure is told, in UTC.
        """


class Outlet(Protocol):
    """Tells one client what is for it alone, such as the output that it follows."""

    async def __call__(self, event: Event) -> None:
        """Tell it, and return when it has room for more.

        What is told is held back meanwhile. A client that is gone needs no telling: its session
        is closed soon.
        """


class Feed(Protocol):
    """One client's share of the events that its frontend passes on to all as they come."""

    @property
    def at(self) -> int:
        """The number of the last event that was passed on to all; it never goes back."""

    def enter(self, selection: Selection) -> None:
        """Pass on to it what is selected, from the next event on, in place of what it got."""

    def leave(self) -> None:
        """Pass nothing more on to it."""


class Session(Protocol):
    """One client's line to the manager: its requests on one container keep their order."""

    async def answer(self, name: str, payload: object) -> Answer:
        """Carry out a request. Never raises but for cancellation: a failure is an answer too."""

    def listen(self, selection: Selection = EVERYTHING, since: Position | None = None) -> Position:
        """Let a client that has just come have its events: missed or new ones, then live ones.

        Missed and new ones come through its outlet; then its feed is entered. It may choose anew
        with the request ``subscribe``.

        Args:
            since: after this it wants all; left out: what is new soon after the manager's start.

        Returns:
            The position after which it gets all that is selected.

        Raises:
            InvalidRequest: the session was opened without outlet or feed.
        """

    def close(self) -> None:
        """The client is gone: what it followed ends. Requests under way are carried out."""


class Events(AsyncIterable[Event], Protocol):
    """A subscription to what happens; iterate over it."""

    #: Says which kinds of events are wanted; ``None``, as at first: all. Asked for every event, so
    #: it is quick, raises nothing, and may answer otherwise as a frontend's clients come and go.
    #: What nobody wants is not even made: the lines of the feed cost as much as a message does.
    #: It is asked again as an event is read, so a change of mind holds from the next event on.
    wants: Callable[[type[Event]], bool] | None

    @property
    def caught_up(self) -> bool:
        """Whether the subscriber has dealt with all that it was given, and waits for more."""

    def __anext__(self) -> Awaitable[Event]:
        """The next event, once there is one."""


class Gateway(Protocol):
    """What a frontend may ask of the manager."""

    @property
    def version(self) -> str:
        """The manager's version."""

    @property
    def backend_name(self) -> str:
        """The chosen backend's name."""

    @property
    def position(self) -> Position:
        """After the last event that was told: where a subscription begins that is entered now."""

    @property
    def beginning(self) -> Position:
        """Before the first event that this life of the manager told."""

    def session(
        self, client: Client, outlet: Outlet | None = None, feed: Feed | None = None
    ) -> Session:
        """Open a client's session; close it when the client is gone.

        Args:
            outlet: left out by a frontend that has no way to one client alone: what needs it is
                refused.
            feed: left out by one whose clients all hear the same.
        """

    def subscribe(
        self,
        since: Position | None = None,
        selection: Selection | None = None,
    ) -> AbstractAsyncContextManager[Events]:
        """Follow events from now on; see `bus` for what happens to a slow reader.

        With any argument the reader may be as slow as it likes: it is given what it has not read
        from the log of events, and holds nobody back. It misses nothing that is kept there. Where
        that is impossible, it gets a `GapFound` and a `SnapshotTaken`.

        Args:
            since: from this position on.
            selection: only this; left out: all.
        """

    def selects(self, selection: Selection, event: Event) -> bool:
        """Whether an event is selected."""

    def event_body(self, event: Event) -> Mapping[str, Any]:
        """The event as the JSON object that clients get."""

    def event_json(self, event: Event) -> bytes:
        """The same as JSON; what the log has written is not written again.

        Raises:
            TypeError, ValueError, RecursionError: it holds what JSON cannot say.
        """

    def error_body(self, error: FlowManagerError) -> Mapping[str, Any]:
        """A failure of the frontend's own, in the one error format."""

    @property
    def error_media_type(self) -> str:
        """What HTTP calls the bodies of `error_body`."""

    async def health(self) -> Mapping[str, Any]:
        """The body of ``GET /health``; its ``status`` is ``healthy`` or ``degraded``."""

    def ready(self) -> bool:
        """Whether requests can be carried out now, for ``GET /readyz``."""

    def metrics(self, accept: str = "") -> tuple[bytes, str]:
        """The body of ``GET /metrics``, and its media type.

        Args:
            accept: the request's ``Accept``.
        """


class Frontend(ABC):
    """Lets clients in. Serving begins when its context is entered and ends when it is left."""

    #: Where clients find it, for people to read.
    addresses: Sequence[str] = ()
