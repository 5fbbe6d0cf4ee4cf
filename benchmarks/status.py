"""``get_container_status`` over Socket.IO beside docker-py's own ``inspect``, in turn."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack

from benchmarks.engine import any_engine, small_image_of
from benchmarks.one import alone
from benchmarks.rows import Row
from benchmarks.watch_cost import EARNEST, ask_statuses, watched, watching_service
from tests.e2e.service import Service

#: Running containers, asked about in turn.
CONTAINERS = 5
TARGET = 3.0


def rows(rounds: int, quick: bool) -> Iterator[Row]:
    """Measure on the engine of choice."""
    with ExitStack() as stack:
        engine = stack.enter_context(any_engine())
        small_image_of(engine)
        service = stack.enter_context(watching_service(engine.url, interval=EARNEST))
        ours, theirs = asyncio.run(_measure(service, engine.url, 1 if quick else rounds))
    yield Row(
        name="get_container_status",
        beside="docker-py `inspect`",
        unit="ms",
        ours=ours,
        theirs=theirs,
        target=TARGET,
        at_least=False,
        limits="the engine's own inspect is most of both; ours adds a Socket.IO round trip",
    )


async def _measure(service: Service, engine: str, rounds: int) -> tuple[list[float], list[float]]:
    async with watched(service, engine, CONTAINERS) as watcher:
        await ask_statuses(watcher, engine, 1)
        return await ask_statuses(watcher, engine, rounds)


if __name__ == "__main__":
    alone(rows, __doc__)
