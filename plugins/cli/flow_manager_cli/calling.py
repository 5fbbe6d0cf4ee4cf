"""A connection to the service, as any Socket.IO client has one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio

from flow_manager_cli.reaching import Place

if TYPE_CHECKING:
    import socketio

#: Bytes of one packet; the answers of the service stay far below.
LARGEST = 64 * 1024 * 1024
#: Seconds for a farewell, which the service may not be there to hear.
FAREWELL = 2.0

Hear = Callable[[str, Any], None]


class NotReached(Exception):
    """The service is not there, does not let us in, or is gone before it has answered."""


class Call:
    """A connection that is open.

    Args:
        hear: takes each event; must not wait.
    """

    def __init__(self, io: socketio.AsyncClient, hear: Hear) -> None:
        self._io = io
        self._hear = hear
        self._refused: Any = None
        self._errors: list[Any] = []
        self._socket: Any = None
        self.ended: anyio.Event = anyio.Event()
        io.on("*", self._take)
        io.on("connect_error", self._take_refusal)
        io.on("disconnect", self._take_end)

    def _take(self, name: str, body: Any = None, *_more: Any) -> None:
        if name == "error":
            self._errors.append(body)
        self._hear(name, body)

    def _take_refusal(self, told: Any = None) -> None:
        self._refused = told
        self._note_socket()

    def _take_end(self, *_reason: Any) -> None:
        self.ended.set()

    async def open(
        self,
        place: Place,
        events: Sequence[str] | None,
        timeout: float,
        since: Mapping[str, Any] | None,
    ) -> None:
        """Connect.

        Raises:
            NotReached: nobody answers in time, or we are not let in.
        """
        from socketio.exceptions import ConnectionError as NotConnected

        auth: dict[str, Any] = {} if events is None else {"events": list(events)}
        if place.token:
            auth["token"] = place.token
        if since is not None:
            auth["since"] = since
        try:
            with anyio.fail_after(timeout):
                await self._io.connect(
                    place.url,
                    auth=auth,
                    transports=["websocket"],
                    socketio_path=place.path,
                    wait_timeout=timeout,
                )
        except TimeoutError:
            raise NotReached(f"no answer within {timeout:g} seconds") from None
        except NotConnected as error:
            raise NotReached(self._reason(error)) from None
        self._note_socket()

    def _note_socket(self) -> None:
        websocket = self._io.eio.ws  # none where no connection has come about
        self._socket = websocket and websocket.get_extra_info("socket")

    def _reason(self, error: BaseException) -> str:
        if isinstance(self._refused, dict) and "message" in self._refused:
            return str(self._refused["message"])
        while deeper := error.__cause__ or error.__context__:
            error = deeper  # what the libraries make of it says nothing
        return str(error) or type(error).__name__

    async def ask(self, name: str, payload: Any, timeout: float) -> tuple[bool, Any]:
        """Send a request; return whether it was carried out, and the answer's body.

        Raises:
            NotReached: there is no answer in time, or the connection ends before.
        """
        answers: list[Any] = []
        done = anyio.Event()

        def take(*answer: Any) -> None:
            answers.extend(answer)
            done.set()

        try:
            with anyio.fail_after(timeout):
                await self._io.emit(name, payload, callback=take)
                await first_of(done, self.ended)
        except TimeoutError:
            told = f"no answer within {timeout:g} seconds; it may be carried out all the same"
            raise NotReached(told) from None
        if not answers:
            raise NotReached(f"no answer: {self.last_words()}")
        # The response event comes before the acknowledgement; it alone says what kind it is.
        return answers[0] not in self._errors, answers[0]

    def last_words(self) -> str:
        """Why the connection ended, as far as the service has said."""
        said = self._errors[-1] if self._errors else None
        told = said.get("message") if isinstance(said, dict) else None
        return f"the connection ended{f': {told}' if told else ''}"

    async def close(self) -> None:
        """Say farewell, and leave nothing open."""
        with anyio.move_on_after(FAREWELL, shield=True):
            await self._io.disconnect()
            session = self._io.eio.http
            if session is not None:
                await session.close()
            # TLS has a farewell of its own, which nothing else waits for.
            while self._socket is not None and self._socket.fileno() != -1:  # noqa: ASYNC110
                await anyio.sleep(0.005)


async def first_of(*events: anyio.Event) -> None:
    """Wait until one of several has come."""

    async def watch(event: anyio.Event) -> None:
        await event.wait()
        group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        for event in events:
            group.start_soon(watch, event)


@asynccontextmanager
async def calling(
    place: Place,
    events: Sequence[str] | None,
    timeout: float,
    hear: Hear = lambda *_: None,
    since: Mapping[str, Any] | None = None,
) -> AsyncIterator[Call]:
    """Be connected with the service.

    Args:
        events: the server events that are wanted, ``None`` for all.
        timeout: seconds to be let in.
        since: a position after which all events are wanted.

    Raises:
        NotReached: nobody answers in time, or we are not let in.
    """
    # Imported on use: no other command needs it.
    import socketio

    options: dict[str, Any] = {"max_msg_size": LARGEST}
    if place.trust is not None:
        options["ssl"] = place.trust
    io = socketio.AsyncClient(
        reconnection=False, handle_sigint=False, websocket_extra_options=options
    )
    call = Call(io, hear)
    try:
        await call.open(place, events, timeout, since)
        yield call
    finally:
        await call.close()
