"""What a chosen provider's factory raises becomes one line that names it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from typing import Any, TypeVar

from flow_manager_core.errors import ConfigurationError, FlowManagerError
from flow_manager_core.log import get_log
from flow_manager_core.models import Fault
from flow_manager_core.plugin_records import told
from flow_manager_core.providers import Provider

T = TypeVar("T")


@contextmanager
def blamed(provider: Provider, origin: str) -> Iterator[None]:
    """Refuse the start for whatever the provider raises; what it says of itself goes on as it is.

    Args:
        origin: the plugin and distribution that it came from.

    Raises:
        ConfigurationError: instead of any exception but `FlowManagerError`.
    """
    try:
        yield
    except FlowManagerError:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, BaseExceptionGroup) and error.subgroup(FlowManagerError):
            raise
        label = provider.kind.replace("_", " ")
        get_log("plugins").debug("A provider failed to start", exc_info=error)
        message = f"the {label} {provider.name!r} {origin} cannot be started: {told(error)}"
        raise ConfigurationError([Fault(provider.kind, message)]) from error


def guarded(
    provider: Provider, origin: str, factory: Callable[..., AbstractAsyncContextManager[T]]
) -> Callable[..., AbstractAsyncContextManager[T]]:
    """Wrap a factory so that entering what it makes is `blamed`; its life and its end are not."""

    @asynccontextmanager
    async def entered(*arguments: Any) -> AsyncIterator[T]:
        async with AsyncExitStack() as stack:
            with blamed(provider, origin):
                made = await stack.enter_async_context(factory(*arguments))
            yield made

    return entered
