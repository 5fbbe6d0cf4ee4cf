"""A context with a task of its own, which no cancellation from outside reaches.

What a context's parts do in the background is cancelled at once, all of it, where the task that
entered them is; whoever is shielded from that, and waits for one of them, waits for ever. In here
they all go on until the context is left, and end in its order.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType
from typing import Any, Generic, TypeVar

import anyio

T = TypeVar("T")


class Shelter(AbstractAsyncContextManager[T], Generic[T]):
    """Enters a context in a task of its own, and leaves it there. It lives once.

    A cancellation while it is entered ends that at once. Once it is entered, one ends the block,
    and then the context is left as it would be without one. A context that fails in between
    cancels the block; what it raised comes out in an exception group.

    Args:
        context: its block's exceptions are kept from it.
    """

    def __init__(self, context: AbstractAsyncContextManager[T]) -> None:
        self._context = context
        self._group = anyio.create_task_group()
        self._scope = anyio.CancelScope(shield=True)
        self._entered = anyio.Event()
        self._over = anyio.Event()
        self._value: T
        #: What entering or leaving it raised.
        self._failure: BaseException | None = None

    async def __aenter__(self) -> T:
        await self._group.__aenter__()
        self._group.start_soon(self._live)
        try:
            await self._entered.wait()
        except BaseException as error:
            self._scope.cancel()
            await self._left(error)
            raise
        if self._failure is not None:
            await self._left(None)
        return self._value

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> bool | None:
        self._over.set()
        return await self._left(error)

    async def _live(self) -> None:
        try:
            with self._scope:
                async with self._context as self._value:
                    self._entered.set()
                    await self._over.wait()
        except BaseException as error:
            if self._entered.is_set() and not self._over.is_set():
                raise
            self._failure = error
        finally:
            self._entered.set()

    async def _left(self, error: BaseException | None) -> bool | None:
        result = await leave(self._group, error)
        if self._failure is not None:
            raise self._failure
        return result


async def leave(
    context: AbstractAsyncContextManager[Any], error: BaseException | None
) -> bool | None:
    """Leave a context; only a cancellation is its to see, any other error goes on as it is."""
    if isinstance(error, anyio.get_cancelled_exc_class()):
        return await context.__aexit__(type(error), error, error.__traceback__)
    await context.__aexit__(None, None, None)
    return None


async def sheltered(stack: AsyncExitStack, context: AbstractAsyncContextManager[T]) -> T:
    """Enter a context in a shelter, which the stack leaves."""
    return await stack.enter_async_context(Shelter(context))
