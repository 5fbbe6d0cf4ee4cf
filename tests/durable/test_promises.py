"""What was accepted is handled, in order, and no event is missed, whoever is killed meanwhile.

``FLOW_MANAGER_DURABLE_SEED`` chooses other kills (``random``: new ones), and
``FLOW_MANAGER_DURABLE_TOTAL`` how many messages are sent each way.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.manager import BACKENDS, Manager
from tests.durable.cast import PATIENCE, Cast
from tests.support.images import FLOW_IMAGE
from tests.support.restartable_engine import RestartableEngine

pytestmark = pytest.mark.trouble

SEED = "20261126"
#: Messages each way, as many as were promised.
TOTAL = 10_000
#: The share of all progress after which, at the latest, the next one is killed.
STEP = 0.08


@pytest.fixture(params=BACKENDS)
def cast(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cast]:
    """The manager on each backend, with an engine that may be killed."""
    asked = os.environ.get("FLOW_MANAGER_DURABLE_TOTAL")
    if request.param == "process" and not asked:
        pytest.skip("what it shows is shown on the engine too; FLOW_MANAGER_DURABLE_TOTAL asks")
    total = int(asked or TOTAL)
    engine: RestartableEngine | None = None
    image, url = "python", ""
    if request.param == "docker":
        engine = request.getfixturevalue("restartable_engine")
        image, url = FLOW_IMAGE, engine.url
    settings = {"LOG_LEVEL": "INFO", "FLOW_MANAGER_MONITORING": "false"}
    with Manager(tmp_path, request.param, image, url, **settings) as manager:
        cast = Cast(manager, engine, total)
        with cast.playing():
            yield cast


def test_what_was_accepted_is_handled_once_in_order_and_every_event_is_seen(cast: Cast) -> None:
    chosen = os.environ.get("FLOW_MANAGER_DURABLE_SEED") or SEED
    seed = secrets.randbelow(10**8) if chosen == "random" else int(chosen)
    print(f"FLOW_MANAGER_DURABLE_SEED={seed} FLOW_MANAGER_DURABLE_TOTAL={cast.total}")
    everybody = list(range(1, cast.total + 1))
    kill_at_random(cast, random.Random(seed))
    cast.until(lambda: cast.sender.done, "the acceptance of all messages")
    cast.until(lambda: len(cast.effects()) >= cast.total, "their effects")
    for log in cast.listeners:
        cast.until(lambda log=log: len(cast.said(log)) >= cast.total, "the flow's messages")
    print(f"killed: {dict(cast.kills)}, deliveries: {len(cast.deliveries())}")
    assert cast.accepted() == everybody
    assert cast.effects() == everybody
    check_order(cast.deliveries())
    kept = journal(cast)
    for log in cast.listeners:
        assert cast.said(log) == everybody
        check_log(cast.log(log), kept)


def kill_at_random(cast: Cast, chance: random.Random) -> None:
    """Kill somebody after each step of progress, until all is done."""
    deeds = {
        "manager": cast.kill_manager,
        "flow": cast.kill_flow,
        "client": cast.kill_client,
        **({"engine": cast.kill_engine} if cast.engine else {}),
    }
    # Each at least once, whatever the seed.
    order = chance.sample(sorted(deeds), len(deeds))
    whole = 2 * cast.total
    step = STEP * whole
    while (before := sum(cast.progress())) < whole - step:
        wanted = before + chance.uniform(0.2, 1) * step
        cast.until(lambda wanted=wanted: sum(cast.progress()) >= wanted, "progress")
        name = order.pop() if order else chance.choice(sorted(deeds))
        cast.kills[name] += 1
        deeds[name]()


def check_order(deliveries: list[tuple[int, int]]) -> None:
    """A later place never came before an earlier one for the first time."""
    firsts: dict[int, int] = {}
    for seq, number in deliveries:
        firsts.setdefault(seq, number)
    assert list(firsts) == sorted(firsts)
    assert list(firsts.values()) == sorted(firsts.values())


def journal(cast: Cast) -> list[dict[str, Any]]:
    """The journal's own events, as an operator exports them."""
    done = subprocess.run(
        [sys.executable, "-m", "flow_manager_cli.main", "journal", "export", "--table", "events"],
        env=cast.manager.variables(),
        cwd=cast.manager.root,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def check_log(log: list[dict[str, Any]], kept: list[dict[str, Any]]) -> None:
    """What a listener was told is what the journal holds, without a gap and without a repeat."""
    told = [(one["body"]["seq"], one["event"]) for one in log]
    assert [seq for seq, _ in told] == list(range(1, len(told) + 1))
    assert told == [(one["seq"], one["name"]) for one in kept[: len(told)]]
