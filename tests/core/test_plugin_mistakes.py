"""A recovery policy or error format that makes a mistake costs nobody but its own container."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import anyio
import pytest

from flow_manager_core import FlowManager, PluginHost, Settings
from flow_manager_core.errors import EngineError, FlowManagerError, SystemFault
from flow_manager_core.events import ContainerRecovered, RecoveryGaveUp
from flow_manager_core.gate import Gate
from flow_manager_core.models import Client, GiveUp, RecoveryHistory, Restart, RestartPolicy
from flow_manager_core.providers import ErrorFormatProvider, RecoveryProvider
from flow_manager_core.retrying import Retrier
from flow_manager_core.soundness import SoundPolicy, json_object, media_type_of
from flow_manager_core.testing.memory_backend import memory_provider
from flow_manager_core.testing.memory_transport import MemoryNetwork, memory_transport_provider
from flow_manager_core.wire import standard_format

pytestmark = pytest.mark.anyio

AT = datetime(2025, 7, 21, 10, 30, tzinfo=UTC)
#: What a policy must not answer.
NONSENSE: dict[str, Any] = {
    "nothing": None,
    "a number": 5,
    "a delay that is no number": Restart(1, math.nan),
    "an endless delay": Restart(1, math.inf),
    "a delay of years": Restart(1, 1e9),
    "a negative delay": Restart(1, -1.0),
    "a delay in words": Restart(1, "soon"),  # type: ignore[arg-type]
    "attempt 0": Restart(0, 1.0),
    "half an attempt": Restart(1.5, 1.0),  # type: ignore[arg-type]
    "no reason": GiveUp(1, None),  # type: ignore[arg-type]
    "less than no attempt": GiveUp(-1, "why"),
    "a class": Restart,
}
#: What a format must not answer.
BODIES: dict[str, Any] = {
    "nothing": None,
    "a list": [],
    "text": "{}",
    "no JSON": {"error": object()},
    "NaN": {"error": math.nan},
    "a lone surrogate": {"error": "\ud800"},
    "a pair as key": {(1, 2): 3},
    "itself": {},
}
BODIES["itself"]["itself"] = BODIES["itself"]
#: The `max_attempts` of the container on which the policy fails.
UNLUCKY = 13


class Failing:
    """Restarts twice, and makes a mistake on one container."""

    def __init__(self, mistake: Callable[[], Any]) -> None:
        self._mistake = mistake

    def decide(self, history: RecoveryHistory, restart: RestartPolicy) -> Any:
        if restart.max_attempts == UNLUCKY:
            return self._mistake()
        runs = len(history.uptimes)
        return Restart(runs, 0.01) if runs <= 2 else GiveUp(2, "twice is enough")


def raise_a_bug() -> Any:
    raise ZeroDivisionError("a bug")


@asynccontextmanager
async def manager(
    policy: Any = None, error_format: Any = standard_format
) -> AsyncIterator[FlowManager]:
    settings = Settings(reconcile_interval=0.05, journal="memory")
    recovery = RecoveryProvider(name="failing", factory=lambda _context: policy)
    formats = ErrorFormatProvider(name="failing", factory=lambda _context: error_format)
    async with FlowManager(
        settings,
        host=PluginHost(installed=False),
        backend=memory_provider(),
        transport=memory_transport_provider(MemoryNetwork()),
        recovery=recovery,
        error_format=formats,
    ) as entered:
        yield entered


@pytest.mark.parametrize("mistake", [raise_a_bug, lambda: None, lambda: Restart(1, math.nan)])
async def test_a_policys_mistake_ends_the_recovery_of_one_container_and_is_told(
    mistake: Callable[[], Any],
) -> None:
    given_up: dict[str, RecoveryGaveUp] = {}
    recovered: list[str] = []
    async with manager(Failing(mistake)) as m, m.subscribe() as events:
        ids = {}
        for name, limit in [("unlucky", UNLUCKY), ("lucky", 1), ("other", 1)]:
            made = await m.execute(
                "create_container",
                {
                    "image": "memory",
                    "name": name,
                    "command": ["exit", "1"],
                    "restart": {"policy": "on-crash", "max_attempts": limit},
                    "start": True,
                },
            )
            ids[made["container_id"]] = name
        with anyio.fail_after(10):
            while len(given_up) < 3:
                event = await anext(events)
                name = ids.get(event.container_id[:12], "")
                if isinstance(event, RecoveryGaveUp):
                    given_up[name] = event
                elif isinstance(event, ContainerRecovered):
                    recovered.append(name)
        status = await m.execute("get_container_status", {"container_id": "unlucky"})
    assert given_up["unlucky"].attempts == 0
    assert given_up["unlucky"].reason.startswith("the recovery policy failed: ")
    assert "a bug" not in given_up["unlucky"].reason
    assert {given_up[name].reason for name in ("lucky", "other")} == {"twice is enough"}
    assert "unlucky" not in recovered
    assert status["state"] == "exited"


async def test_a_policys_mistake_does_not_hide_why_a_call_failed() -> None:
    class Mistaken:
        def decide(self, history: RecoveryHistory, restart: RestartPolicy) -> Any:
            raise ZeroDivisionError

    async def call() -> None:
        raise EngineError("busy", retryable=True)

    gate = Gate()
    gate.open()
    with pytest.raises(EngineError, match="busy"):
        await Retrier(SoundPolicy(Mistaken()), gate, 5)(call)


@pytest.mark.parametrize("case", NONSENSE)
def test_what_is_no_verdict_means_that_the_policy_has_given_up(case: str) -> None:
    class Odd:
        def decide(self, history: RecoveryHistory, restart: RestartPolicy) -> Any:
            return NONSENSE[case]

    history = RecoveryHistory((1.0,) * 3, (1.0, 2.0, 3.0))
    verdict = SoundPolicy(Odd()).decide(history, RestartPolicy())
    assert isinstance(verdict, GiveUp)
    assert verdict.attempts == 2
    assert "cannot be carried out" in verdict.reason or "raised" in verdict.reason


@pytest.mark.parametrize("verdict", [Restart(1, 0.0), Restart(3, 86400), GiveUp(0, "")])
def test_a_sound_verdict_is_passed_on_as_it_is(verdict: Restart | GiveUp) -> None:
    class Fixed:
        def decide(self, history: RecoveryHistory, restart: RestartPolicy) -> Restart | GiveUp:
            return verdict

    history = RecoveryHistory((1.0,), (1.0,))
    assert SoundPolicy(Fixed()).decide(history, RestartPolicy()) is verdict


@pytest.mark.parametrize("case", [*BODIES, "a bug"])
async def test_a_client_gets_the_standard_format_where_the_chosen_one_fails(case: str) -> None:
    def form(_error: FlowManagerError, _at: datetime) -> Any:
        return BODIES[case] if case in BODIES else raise_a_bug()

    async with manager(error_format=form) as m:
        answer = await m.session(Client("test", "1")).answer("start_container", {})
    assert answer.event == "error"
    assert answer.body["error_type"] == "validation_error"
    assert set(answer.body) == {"error", "error_type", "message", "details", "timestamp"}


def test_any_mapping_of_json_is_taken() -> None:
    found: Mapping[str, Any] = MappingProxyType({"a": MappingProxyType({"b": (1, None)})})
    assert json_object(found) == {"a": {"b": [1, None]}}


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("application/problem+json", "application/problem+json"),
        ("application/vnd.example.v1+json", "application/vnd.example.v1+json"),
        ("text/html", "application/json"),
        ("application/json\r\nX: y", "application/json"),
        (None, "application/json"),
    ],
)
def test_only_a_media_type_of_json_is_believed(named: object, expected: str) -> None:
    class Form:
        media_type = named

        def __call__(self, error: FlowManagerError, at: datetime) -> dict[str, Any]:
            return standard_format(error, at)

    assert media_type_of(Form()) == expected
    assert media_type_of(standard_format) == "application/json"


async def test_a_host_is_told_the_media_type_before_and_after_it_has_entered_the_manager() -> None:
    class Form:
        media_type = "application/problem+json"

        def __call__(self, error: FlowManagerError, at: datetime) -> dict[str, Any]:
            return standard_format(error, at)

    assert FlowManager(host=PluginHost(installed=False)).error_media_type == "application/json"
    async with manager(error_format=Form()) as m:
        assert m.error_media_type == "application/problem+json"


def test_the_standard_format_is_plain_json_whatever_a_failure_holds() -> None:
    error = SystemFault("caf\udce9", numbers=[math.inf, 2**70, 7], what=object(), of={1: "\ud800"})
    body = standard_format(error, AT)
    assert body["message"] == "caf\ufffd"
    assert body["details"]["numbers"] == [None, hex(2**70), 7]
    assert body["details"]["what"] == "<object>"
    assert body["details"]["of"] == {"1": "\ufffd"}
