"""What the manager knows of its containers: one record each, found by id, name or prefix."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import anyio

from flow_manager_core.channel import Channel
from flow_manager_core.contracts import Endpoint
from flow_manager_core.desired import Desired
from flow_manager_core.errors import ContainerNotFound, EngineError
from flow_manager_core.models import Container, ContainerState, Health, RecoveryHistory
from flow_manager_core.selection import Identity
from flow_manager_core.terms import Terms, client_labels

SHORT = 12
SHORTEST_PREFIX = 4
#: Ended runs that a recovery policy can look back on.
HISTORY = 1000
#: Containers that are gone, and still known by their name and labels.
REMEMBERED = 1000


class ContainerRecord:
    """Everything about one container, from the reservation of its name to its removal.

    `lock` is held by whoever changes the container; `look_lock` by whoever asks the engine about
    it and draws conclusions; `note_lock` by whoever writes down what it is meant to be.
    """

    def __init__(self, name: str, terms: Terms) -> None:
        self.name = name
        self.terms = terms
        self.lock: anyio.Lock = anyio.Lock()
        self.look_lock: anyio.Lock = anyio.Lock()
        self.note_lock: anyio.Lock = anyio.Lock(fast_acquire=True)
        self.container: Container | None = None
        self.state = ContainerState.CREATED
        self.endpoint: Endpoint | None = None
        self.channel: Channel | None = None
        self.gone = False
        #: Requests that are about it, waiting ones as well.
        self.requests = 0
        #: What it is meant to be, as recorded; changed through the ledger alone.
        self.desired: Desired = Desired(key=terms.birth, name=name)
        #: The engine's life in which its run was last asked for or seen.
        self.engine_life = ""
        #: An operation removes it, and draws the conclusions itself.
        self.deleting = False
        #: It was started, and what the run sees of the host was not looked at yet.
        self.unvetted = False
        self.uptimes: list[float] = []
        self.ends: list[float] = []
        #: What filters of events know of it.
        self.identity: Identity = Identity("", name)
        #: What its health checks say; ``None`` while nothing is checked.
        self.health: Health | None = None
        self._changed = anyio.Event()

    @property
    def id(self) -> str:
        """The engine's full id, empty until the engine made the container."""
        return self.container.id if self.container else ""

    @property
    def made_state(self) -> ContainerState | None:
        """The engine's own word for the state, as last seen."""
        return self.container.state if self.container else None

    @property
    def short_id(self) -> str:
        """The id that clients are shown."""
        return self.id[:SHORT]

    @property
    def connected(self) -> bool:
        """Whether the flow has its channel."""
        return self.channel is not None and self.channel.connected

    def made(self) -> Container:
        """The container as last seen.

        Raises:
            ContainerNotFound: it is gone, or the create came to nothing.
        """
        if self.container is None or self.gone:
            raise not_found(self.name)
        return self.container

    def ran(self, uptime: float, ended: float) -> None:
        """Note that a run ended; seconds, on a monotonic clock."""
        self.uptimes = [*self.uptimes[-HISTORY:], uptime]
        self.ends = [*self.ends[-HISTORY:], ended]

    @property
    def history(self) -> RecoveryHistory:
        """The ended runs that recovery has to consider."""
        return RecoveryHistory(tuple(self.uptimes), tuple(self.ends))

    def forgive(self) -> None:
        """Forget the ended runs: somebody took the container in hand."""
        self.uptimes, self.ends = [], []

    def notify(self) -> None:
        """Wake those who wait for a change of state or channel."""
        self._changed.set()
        self._changed = anyio.Event()

    async def changed(self) -> None:
        """Wait for the next change of state or channel."""
        await self._changed.wait()

    async def wait_for(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Wait until a condition on this record holds; tell whether it did in time (seconds)."""
        with anyio.move_on_after(timeout):
            while not condition():
                await self._changed.wait()
            return True
        return condition()


class Registry:
    """The records. A record that is being made is found by its name already."""

    def __init__(self) -> None:
        self._by_name: dict[str, ContainerRecord] = {}
        self._by_id: dict[str, ContainerRecord] = {}
        self._by_short: dict[str, ContainerRecord] = {}
        self._by_request: dict[tuple[str | None, str], ContainerRecord] = {}
        self._gone: OrderedDict[str, Identity] = OrderedDict()
        #: Called with each record whose container is there.
        self.on_admitted: list[Callable[[ContainerRecord], None]] = []

    def __iter__(self) -> Iterator[ContainerRecord]:
        return iter([r for r in self._by_name.values() if r.container is not None])

    def has_name(self, name: str) -> bool:
        """Whether a container of this name is known or being made."""
        return name in self._by_name

    def reserve(self, record: ContainerRecord) -> None:
        """Take a name before the engine is asked.

        Raises:
            EngineError: the name is in use; it may be tried again if its owner is being removed.
        """
        owner = self._by_name.get(record.name)
        if owner is not None:
            raise name_in_use(owner)
        self._by_name[record.name] = record
        if record.terms.request_id is not None:
            self._by_request[record.terms.by, record.terms.request_id] = record

    def held(self, record: ContainerRecord) -> AbstractContextManager[None]:
        """Keep a name for as long as a request is about it, however far that gets."""
        return _Held(self, record)

    def admit(self, record: ContainerRecord, container: Container) -> None:
        """The engine made it: from now on it is found by its id as well."""
        record.container = container
        record.identity = Identity.of(container.id, record.name, client_labels(container.labels))
        self._by_id[container.id] = record
        self._by_short[container.id[:SHORT]] = record
        for tell in self.on_admitted:
            tell(record)

    def drop(self, record: ContainerRecord) -> None:
        """Forget a container that is gone or came to nothing."""
        record.gone = True
        record.notify()
        if record.id:
            self._gone[record.id] = record.identity
            if len(self._gone) > REMEMBERED:
                self._gone.popitem(last=False)
        if self._by_name.get(record.name) is record:
            del self._by_name[record.name]
        self._by_id.pop(record.id, None)
        self._by_short.pop(record.short_id, None)
        asked = record.terms.by, record.terms.request_id or ""
        if self._by_request.get(asked) is record:
            del self._by_request[asked]

    def with_id(self, container_id: str) -> ContainerRecord | None:
        """The record of an engine's full id."""
        return self._by_id.get(container_id)

    def identity(self, container_id: str) -> Identity:
        """What is known of a full id; events about the latest that are gone may still come."""
        record = self._by_id.get(container_id)
        if record is not None:
            return record.identity
        return self._gone.get(container_id) or Identity(container_id)

    def with_request(self, request_id: str | None, by: str | None) -> ContainerRecord | None:
        """The record that a create with this request id made, by its label.

        Args:
            by: whose id it is; ``None``: the host application's.
        """
        if request_id is None:
            return None
        mine = self._by_request.get((by or "", request_id))
        return mine or self._by_request.get((None, request_id))

    def find(self, ref: str) -> ContainerRecord:
        """Find by full id, short id, name, or unambiguous prefix of an id, in this order.

        Ids come first: a name that looks like another container's id cannot stand in for it.

        Raises:
            ContainerNotFound: none, or a prefix of several.
        """
        found = self._by_id.get(ref) or self._by_short.get(ref) or self._by_name.get(ref)
        return found or self._with_prefix(ref)

    def _with_prefix(self, ref: str) -> ContainerRecord:
        if len(ref) < SHORTEST_PREFIX:
            raise not_found(ref)
        found = [record for key, record in self._by_id.items() if key.startswith(ref)]
        if len(found) > 1:
            raise ContainerNotFound(
                f"Container not found: {ref} is the beginning of {len(found)} ids",
                container_id=ref,
                hint="Use more characters of the container ID, or its name",
            )
        if not found:
            raise not_found(ref)
        return found[0]


class _Held:
    def __init__(self, registry: Registry, record: ContainerRecord) -> None:
        self._registry = registry
        self._record = record

    def __enter__(self) -> None:
        self._record.requests += 1

    def __exit__(self, *_raised: object) -> None:
        record = self._record
        record.requests -= 1
        if record.requests == 0 and record.container is None and not record.gone:
            self._registry.drop(record)


def not_found(ref: str) -> ContainerNotFound:
    """The error for a container that is not there or not ours."""
    return ContainerNotFound(f"Container not found: {ref}", container_id=ref)


def name_in_use(owner: ContainerRecord) -> EngineError:
    """The error for a second container of one name."""
    told, hint = "", "Use a different name, or delete the container that has it"
    leaving = owner.state is ContainerState.REMOVING
    if leaving:
        told, hint = ", by a container that is being removed", "Try again in a moment"
    return EngineError(
        f"The container name {owner.name} is already in use{told}",
        hint=hint,
        retryable=leaving,
        name=owner.name,
    )
