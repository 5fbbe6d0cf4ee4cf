"""A flood of one flow's frames, or of four, leaves a neighbour's round trip as good as it was."""

from __future__ import annotations

import pytest

from benchmarks.flood import BODIES, bench, p99

pytestmark = [pytest.mark.anyio, pytest.mark.alone]

FLOODS = ((1, "valid frames"), (4, "valid frames"), (4, "malformed frames"))
#: How much longer the neighbour's p99 may be than its quiet one, measured just before.
BOUND = 3.0
#: A round counts if nothing else disturbed it: the best of so many has to hold the bound.
ROUNDS = 6
#: Seconds of each half of a round; some 200 round trips.
HALF = 0.7


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """The Socket.IO client is asyncio's."""
    return "asyncio"


@pytest.mark.blocks_loop(reason="starts and ends a service")
async def test_a_flood_of_frames_leaves_a_neighbours_p99_under_three_times_its_quiet_one() -> None:
    async with bench(4) as made:
        await made.quiet(HALF)
        for count, what in FLOODS:
            ratios: list[float] = []
            while len(ratios) < ROUNDS and min(ratios, default=BOUND) >= BOUND:
                quiet = await made.quiet(HALF)
                flooded = await made.flooded(HALF, count, BODIES[what])
                ratios.append(p99(flooded.asked) / p99(quiet.asked))
            print(f"{count} x {what}: p99 ratio", *(f"{ratio:.2f}" for ratio in ratios))
            assert min(ratios) < BOUND
