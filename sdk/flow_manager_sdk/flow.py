"""A flow: handlers for the manager's messages, and the loop that serves them."""

from __future__ import annotations

import signal
import threading
import time
from functools import partial
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any, Callable, TypeVar

from flow_manager_sdk.address import Address
from flow_manager_sdk.durable import Durable
from flow_manager_sdk.errors import NotConnected
from flow_manager_sdk.frames import LIMIT, Message, encode
from flow_manager_sdk.handlers import Handlers, guarded
from flow_manager_sdk.link import Link
from flow_manager_sdk.telling import tell

#: Messages that may wait for a handler; then reading pauses, and so does the manager.
INBOX = 16
#: Seconds that `Flow.send` waits for a connection by default.
SEND_PATIENCE = 10.0
#: Seconds for the manager to store what is left when `Flow.run` ends.
LAST_WORDS = 2.0
#: Seconds between two signs of life while handlers do not keep up.
SIGN_INTERVAL = 1.0
#: Seconds after which a worker without work looks whether the flow is to end.
_GLANCE = 1.0
SIGNALS = (int(signal.SIGTERM), int(signal.SIGINT))

H = TypeVar("H", bound=Callable[..., Any])


class Flow:
    """The flow's side of its channel.

    Args:
        path: of the manager's socket, or ``tcp://host:port``; left out: from the environment.
        secret: what to show at a TCP address; left out: from ``FLOW_SECRET``.
        workers: threads that run handlers; 1: one at a time, in order.
        limit: bytes of one message's JSON.
        spool: path of a file in which durable messages outlive this process; left out: they are
            kept in memory.

    Raises:
        NoSocket: there is no path or secret, and the environment has none.
        SpoolFault: the spool cannot be used.
    """

    def __init__(
        self,
        path: str | None = None,
        *,
        secret: str | None = None,
        workers: int = 1,
        limit: int = LIMIT,
        spool: str | None = None,
    ) -> None:
        if workers < 1:
            raise ValueError("workers must be 1 or more")
        self._limit = limit
        self._workers = workers
        self._handlers = Handlers(limit)
        self._greeters: list[Callable[[], object]] = []
        address = Address(path, secret)
        self._durable = Durable(limit, spool)
        self._link = Link(address, limit, self._durable, self._on_connected, self._on_message)
        # The one kind of queue that a signal handler may put into.
        self._inbox: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._room = threading.Semaphore(INBOX)
        self._stopping = False
        self._ended_by: list[BaseException] = []

    def on(self, command: str) -> Callable[[H], H]:
        """Make a function the handler of a command; it takes data, or data and `Message`."""

        def register(handler: H) -> H:
            self._handlers.add(command, handler)
            return handler

        return register

    def on_connected(self, greeter: H) -> H:
        """Have a function called after each connect, in turn with the handlers."""
        self._greeters.append(greeter)
        return greeter

    def send(
        self,
        command: str,
        data: Any = None,
        *,
        id: str | None = None,
        reply_to: str | None = None,
        timeout: float = SEND_PATIENCE,
        durable: bool = False,
    ) -> None:
        """Send a message, from any thread.

        A durable one is kept here until the manager has stored it, through all breaks, and is
        stored once. In the spool it is on disk when this returns.

        Args:
            command: what it is about.
            data: any JSON value.
            id: names a question, so that it can be answered.
            reply_to: the id of the question that this answers.
            timeout: seconds that a connection may take to come up; for a durable one: that it may
                wait while too many are kept already.
            durable: whether it must not be lost.

        Raises:
            BadFrame: it is over the limit, or holds what JSON cannot say.
            NotConnected: there was no connection in time, or too many waited.
            SpoolFault: a durable one cannot be kept.
        """
        message = Message(command, data, id, reply_to)
        if durable:
            self._durable.outgoing.add(message, timeout, self._wanted)
            return
        frame = encode(message, self._limit)
        self._link.send_frame(frame, timeout, self._wanted)

    @property
    def sent(self) -> int:
        """How many durable messages were kept so far, with a spool in all lives of the program.

        A manager that has lost its journal is told what waits as the first of a new count.
        """
        return self._durable.outgoing.last

    def flush(self, timeout: float = SEND_PATIENCE) -> bool:
        """Wait until the manager has stored every durable message.

        Args:
            timeout: seconds.

        Returns:
            Whether it has.
        """
        return self._durable.outgoing.flush(timeout)

    def run(self) -> None:
        """Serve until SIGTERM, SIGINT or `stop`; return after the handlers that run then.

        Signals are only taken care of in the main thread; a second one acts as if there were no
        flow. What ends a handler and is no `Exception`, such as `sys.exit()`, ends the run.
        """
        former = self._take_signals()
        helpers = [
            threading.Thread(target=self._help, name="flow-worker", daemon=True)
            for _ in range(self._workers - 1)
        ]
        self._durable.outgoing.open()
        self._link.open()
        try:
            for helper in helpers:
                helper.start()
            self._work()
        finally:
            self.stop()
            for helper in helpers:
                helper.join()
            self._leave()
            self._give_back(former)
            self._reset()
        if self._ended_by:
            raise self._ended_by.pop()

    def close(self) -> None:
        """Close the spool, once `run` has returned for good; without one there is nothing to do."""
        self._durable.close()

    def _leave(self) -> None:
        if self._link.connected:
            self.flush(LAST_WORDS)
        self._durable.outgoing.close()
        self._link.close()

    def stop(self) -> None:
        """End `run`, from any thread, a handler or a signal handler; messages waiting are left."""
        self._stopping = True
        for _ in range(self._workers):
            self._inbox.put(None)

    def _work(self) -> None:
        while not self._stopping:
            task = self._next_task()
            if task is not None:
                self._room.release()
                task()

    def _next_task(self) -> Callable[[], None] | None:
        try:
            # A signal that comes in the moment before a wait is seen only after it.
            return self._inbox.get(timeout=_GLANCE)
        except Empty:
            return None

    def _help(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001  # raised again by run
            self._ended_by.append(error)
            self.stop()

    def _reset(self) -> None:
        self._inbox = SimpleQueue()
        self._room = threading.Semaphore(INBOX)
        self._stopping = False

    def _wanted(self) -> bool:
        return not self._stopping

    def _on_connected(self) -> None:
        for greeter in self._greeters:
            self._enqueue(partial(guarded, greeter))

    def _on_message(self, message: Message) -> None:
        self._enqueue(partial(self._handle, message))

    def _enqueue(self, task: Callable[[], None]) -> None:
        silent_since = time.monotonic()
        while not self._room.acquire(timeout=0.1):
            if self._stopping:
                return
            if time.monotonic() - silent_since >= SIGN_INTERVAL:
                # Nothing is read meanwhile, so no question whether the flow lives either.
                self._link.show_life()
                silent_since = time.monotonic()
        self._inbox.put(task)

    def _handle(self, message: Message) -> None:
        frame = self._handlers.answer(message)
        if frame is not None:
            self._answer(frame)
        acknowledgement = self._durable.acknowledgement(message)
        if acknowledgement is not None:
            self._link.send_now(acknowledgement)

    def _answer(self, frame: bytes) -> None:
        try:
            self._link.send_frame(frame, SEND_PATIENCE, self._wanted)
        except NotConnected as error:
            tell(f"an answer is lost: {error}")

    def _take_signals(self) -> dict[int, Any]:
        if threading.current_thread() is not threading.main_thread():
            return {}
        former = {number: signal.getsignal(number) or signal.SIG_DFL for number in SIGNALS}

        def stop(number: int, _frame: FrameType | None) -> None:
            signal.signal(number, former[number])
            self.stop()

        for number in SIGNALS:
            signal.signal(number, stop)
        return former

    @staticmethod
    def _give_back(former: dict[int, Any]) -> None:
        for number, handler in former.items():
            signal.signal(number, handler)
