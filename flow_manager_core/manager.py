"""The flow manager itself: enters the chosen providers, and carries out requests.

::

    async with FlowManager() as manager:
        made = await manager.execute("create_container", {"image": "python", "start": True, ...})
        async with manager.subscribe() as events:
            async for event in events:
                ...
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import Any, Self

import anyio

from flow_manager_core.bus import EventBus
from flow_manager_core.caller import Caller
from flow_manager_core.choice import Choice, Chosen
from flow_manager_core.contracts import Events, Feed, Outlet
from flow_manager_core.errors import FlowManagerError
from flow_manager_core.event_stream import EventStream
from flow_manager_core.events import Event, now
from flow_manager_core.execution import Executor
from flow_manager_core.farewell import stop_flows
from flow_manager_core.gauges import watch_gauges
from flow_manager_core.health import health_of
from flow_manager_core.house import build_services
from flow_manager_core.log import get_log
from flow_manager_core.metrics import Metrics
from flow_manager_core.models import Client
from flow_manager_core.plugins import PluginHost
from flow_manager_core.providers import (
    BackendProvider,
    ErrorFormatProvider,
    FrontendProvider,
    JournalProvider,
    RecoveryProvider,
    TransportProvider,
)
from flow_manager_core.selection import EVERYTHING, Position, Selection
from flow_manager_core.services import Services
from flow_manager_core.session import ClientSession
from flow_manager_core.settings import OnExit, Settings
from flow_manager_core.settings_check import settings_faults
from flow_manager_core.shelter import leave, sheltered
from flow_manager_core.soundness import json_object, media_type_of
from flow_manager_core.turns import Turns
from flow_manager_core.version import __version__
from flow_manager_core.wire import event_body, event_json, numbered, standard_format

#: Seconds at close for subscribers to deal with what they were told.
LAST_WORDS = 0.5


class FlowManager:
    """One manager. Enter it with ``async with``, in the task that also leaves it.

    It may be entered again after it was left, in another event loop too.

    Args:
        settings: left out: the defaults. Nothing is read from the environment here.
        plugins: plugin objects besides the installed ones.
        host: plugins that are loaded already, instead of the two above.
        provider_settings: instances of providers' settings classes, by provider name, or by
            `Provider.qualified` where two kinds have a provider of the same name.
        backend, transport, recovery, error_format, journal: a provider instead of the settings'
            choice.
        frontends: providers instead of the settings' choice.

    Raises:
        ConfigurationError: on entering, with every fault of the settings and choices.
        RuntimeError: on entering it while it is entered.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        plugins: Sequence[object] = (),
        host: PluginHost | None = None,
        provider_settings: Mapping[str, Any] | None = None,
        backend: BackendProvider | None = None,
        transport: TransportProvider | None = None,
        recovery: RecoveryProvider | None = None,
        error_format: ErrorFormatProvider | None = None,
        journal: JournalProvider | None = None,
        frontends: Sequence[FrontendProvider] | None = None,
    ) -> None:
        self.settings: Settings = settings or Settings()
        self._host = host or PluginHost(self.settings.blocked_plugins, plugins)
        self._choice = Choice(
            self._host,
            self.settings,
            provider_settings or {},
            backend=backend,
            transport=transport,
            recovery=recovery,
            error_format=error_format,
            journal=journal,
            frontends=frontends,
        )
        self._log = get_log("manager")
        self._bus = EventBus()
        self._stack: AsyncExitStack | None = None
        self._chosen: Chosen | None = None
        self._services: Services | None = None
        self._executor: Executor | None = None
        #: Where each frontend listens, once entered.
        self.addresses: list[str] = []

    async def __aenter__(self) -> Self:
        if self._stack is not None:
            raise RuntimeError("this manager is entered already: enter it in one place alone")
        if self._chosen is not None:
            self._bus = EventBus()  # the last life's is closed, and of another event loop perhaps
        self._stack = stack = AsyncExitStack()
        try:
            await self._enter(stack)
        except BaseException as error:
            self._stack = None
            await leave(stack, error)
            raise
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> bool | None:
        stack, self._stack = self._stack, None
        if stack is None:
            raise RuntimeError("this manager is not entered")
        return await leave(stack, value)

    async def _enter(self, stack: AsyncExitStack) -> None:
        self._host.report()
        self._chosen = await self._choice.make(settings_faults(self.settings))
        metrics = Metrics(self.version, self.backend_name)
        self._services = await build_services(
            stack, self.settings, self._chosen, self._bus, metrics, self.error_body
        )
        watch_gauges(metrics, self._services, self._bus)
        self._executor = Executor(self._services)
        stack.callback(self._bus.close)
        self.addresses = []
        for provider, context in self._chosen.frontends:
            frontend = await sheltered(stack, provider.factory(context, self))
            self.addresses += frontend.addresses
        # Frontends pass the last words on before they dismiss their clients.
        stack.push_async_callback(self._last_words)
        if self.settings.on_exit is OnExit.STOP:
            stack.push_async_callback(stop_flows, self._services)
        stack.push_async_callback(self._executor.close, self.settings.shutdown_timeout)

    async def _last_words(self) -> None:
        with anyio.move_on_after(LAST_WORDS, shield=True):
            await self._services_entered().journal.flushed()
        await self._bus.delivered(LAST_WORDS)

    @property
    def version(self) -> str:
        """The manager's version."""
        return __version__

    @property
    def backend_name(self) -> str:
        """The chosen backend's name."""
        return self._entered().backend[0].name

    async def execute(self, name: str, payload: object) -> dict[str, Any]:
        """Carry out a request and return its answer's body.

        Args:
            name: an operation of the contract, such as ``create_container``.
            payload: a JSON object.

        Raises:
            FlowManagerError: it failed; `FlowManagerError.error_type` names how.
        """
        _, body = await self._ready().execute(name, payload, Turns())
        return dict(body)

    def session(
        self, client: Client, outlet: Outlet | None = None, feed: Feed | None = None
    ) -> ClientSession:
        """Open a session, in which the requests on one container keep their order."""
        services, caller = self._services_entered(), Caller(client, outlet, feed)
        return ClientSession(
            self._ready(), self.error_body, caller, services.metrics, services.listeners
        )

    @property
    def position(self) -> Position:
        """After the last event that was told."""
        return self._services_entered().listeners.source.position

    @property
    def beginning(self) -> Position:
        """Before the first event that this life told."""
        return self._services_entered().listeners.news.start

    @asynccontextmanager
    async def subscribe(
        self,
        since: Position | None = None,
        selection: Selection | None = None,
    ) -> AsyncIterator[Events]:
        """Follow events; without arguments, all from now on.

        Then a reader that is too slow gets `EventsLost`. With any argument it may be as slow as it
        likes, and misses nothing that is kept: see `Gateway`.

        Args:
            since: from this position on.
            selection: only this; left out: all.
        """
        if since is None and selection is None:
            with self._bus.subscribe() as subscription:
                yield subscription
            return
        listeners = self._services_entered().listeners
        source = listeners.source
        with EventStream(source, since or source.position, selection or EVERYTHING) as stream:
            yield stream

    def selects(self, selection: Selection, event: Event) -> bool:
        """Whether an event is selected."""
        return self._services_entered().listeners.source.selects(selection, event)

    def event_body(self, event: Event) -> Mapping[str, Any]:
        """The event as clients get it."""
        return numbered(event, event_body(event))

    def event_json(self, event: Event) -> bytes:
        """The same as JSON."""
        return event_json(event)

    def error_body(self, error: FlowManagerError) -> Mapping[str, Any]:
        """A failure in the chosen error format; in the standard one where that one fails."""
        try:
            return json_object(self._entered().error_format(error, now()))
        except Exception:  # noqa: BLE001  # a client is owed an answer whatever a plugin does
            self._log.exception("The error format failed")
            return standard_format(error, now())

    @property
    def error_media_type(self) -> str:
        """What HTTP calls the bodies of `error_body`."""
        chosen = self._chosen
        return media_type_of(chosen.error_format if chosen else standard_format)

    async def health(self) -> Mapping[str, Any]:
        """How the manager and its engine are; the body of ``GET /health``."""
        return await health_of(self._services_entered())

    def ready(self) -> bool:
        """Whether requests can be carried out: the engine was reached, and answers."""
        return self._services is not None and self._services.gate.is_open

    def metrics(self, accept: str = "") -> tuple[bytes, str]:
        """What is counted, as Prometheus reads it, and the media type of that.

        Args:
            accept: what the asker takes, as HTTP's ``Accept`` says it: OpenMetrics, else text.
        """
        return self._services_entered().metrics.text(accept)

    def _services_entered(self) -> Services:
        if self._services is None:
            raise RuntimeError("this manager is not entered")
        return self._services

    def _entered(self) -> Chosen:
        if self._chosen is None:
            raise RuntimeError("this manager is not entered")
        return self._chosen

    def _ready(self) -> Executor:
        if self._executor is None:
            raise RuntimeError("this manager is not entered")
        return self._executor
