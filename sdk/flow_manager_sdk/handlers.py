"""A flow's handlers: which there are, what each takes, and what its answer is."""

from __future__ import annotations

import inspect
import sys
import traceback
from functools import partial
from typing import Any, Callable

from flow_manager_sdk.frames import Message, encode
from flow_manager_sdk.signs import PING
from flow_manager_sdk.telling import tell

#: The manager's word on a frame that it could not take; never answered.
ERROR = "error"
#: Characters of an exception's text that are sent along.
_MOST_TOLD = 1000

Handler = Callable[..., Any]


class Handlers:
    """The handlers by command.

    Args:
        limit: bytes of one message's JSON.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._by_command: dict[str, Handler] = {}

    def add(self, command: str, handler: Handler) -> None:
        """Take a handler.

        Raises:
            ValueError: the command has one already, or is answered by this package.
            TypeError: it cannot be called with data, or with data and message.
        """
        if command == PING:
            raise ValueError("The command ping is answered by itself")
        if command in self._by_command:
            raise ValueError(f"The command {command} has a handler already")
        self._by_command[command] = _adapted(handler)

    def answer(self, message: Message) -> bytes | None:
        """Handle a message; return the frame that answers it, if there is to be one."""
        handler = self._by_command.get(message.command)
        if message.command == ERROR:
            _take_error(handler, message)
            return None
        if handler is None:
            # An answer that nobody waits for is no question.
            return None if message.reply_to is not None else self._unknown(message)
        try:
            value = handler(message)
            if value is None and message.id is None:
                return None
            return self._frame("result", value, message)
        except Exception as error:  # noqa: BLE001  # the flow goes on, whatever its handler does
            _show_exception()
            return self._failure("system_error", _describe(error), message)

    def _unknown(self, message: Message) -> bytes:
        told = f"Unknown command: {message.command[:100]}"
        return self._failure("validation_error", told, message)

    def _failure(self, error_type: str, told: str, message: Message) -> bytes:
        data = {"error": True, "error_type": error_type, "message": told}
        return self._frame(ERROR, data, message)

    def _frame(self, command: str, data: Any, question: Message) -> bytes:
        return encode(Message(command, data, reply_to=question.id), self._limit)


def guarded(function: Callable[[], object]) -> None:
    """Call a function that answers nothing; what it raises is shown, and the flow goes on."""
    try:
        function()
    except Exception:  # noqa: BLE001  # as the text says
        _show_exception()


def _take_error(handler: Handler | None, message: Message) -> None:
    if handler is None:
        data = message.data
        told = data.get("message", data) if isinstance(data, dict) else data
        tell(f"the manager reports: {told}")
        return
    guarded(partial(handler, message))


def _show_exception() -> None:
    traceback.print_exc()
    sys.stderr.flush()


def _adapted(handler: Handler) -> Handler:
    if inspect.iscoroutinefunction(handler):
        raise TypeError(f"A handler is a plain function, not async: {handler!r}")
    needed = [p for p in inspect.signature(handler).parameters.values() if _is_needed(p)]
    if len(needed) == 2:
        return lambda message: handler(message.data, message)
    try:
        inspect.signature(handler).bind(None)
    except TypeError:
        told = "A handler takes the data, or the data and the message: %r"
        raise TypeError(told % handler) from None
    return lambda message: handler(message.data)


def _is_needed(parameter: inspect.Parameter) -> bool:
    positional = (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    return parameter.kind in positional and parameter.default is parameter.empty


def _describe(error: Exception) -> str:
    told = f"{type(error).__name__}: {error}"
    return told[:_MOST_TOLD].encode("utf-8", "backslashreplace").decode()
