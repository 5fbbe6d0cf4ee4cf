"""The contract suites find what is wrong: each case fails on a provider with that fault."""

from __future__ import annotations

import random
import time
import traceback
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from attrs import evolve
from hypothesis.errors import FlakyFailure

from flow_manager_core.errors import FlowManagerError
from flow_manager_core.models import GiveUp, RecoveryHistory, Restart, RestartPolicy
from flow_manager_core.providers import ErrorFormatProvider, RecoveryProvider
from flow_manager_core.testing.error_format_cases.formats import KINDS
from flow_manager_core.testing.error_format_suite import ErrorFormatSuite
from flow_manager_core.testing.recovery_suite import RecoverySuite
from flow_manager_core.wire import standard_format

FOUND = (AssertionError, FlakyFailure, TypeError, ValueError, ArithmeticError, IndexError)

Decide = Callable[[Any, RecoveryHistory, RestartPolicy], Any]


def honest(history: RecoveryHistory, restart: RestartPolicy, delay: float = 1.0) -> Any:
    """A policy without a fault: three times, or as often as the container says."""
    limit = restart.max_attempts or 3
    runs = len(history.uptimes)
    return Restart(runs, delay) if runs <= limit else GiveUp(limit, "enough")


def counting(self: Any, history: RecoveryHistory, restart: RestartPolicy) -> Any:
    self.count = getattr(self, "count", 0) + 1
    return Restart(1, 1.0) if self.count <= 3 else GiveUp(0, "enough")


def mutating(_self: Any, history: RecoveryHistory, restart: RestartPolicy) -> Any:
    verdict = honest(history, restart)
    object.__setattr__(history, "ends", ())
    return verdict


def quadratic(_self: Any, history: RecoveryHistory, restart: RestartPolicy) -> Any:
    assert sum(a <= b for a in history.ends for b in history.ends)
    return honest(history, restart)


def by_the_wall(_self: Any, history: RecoveryHistory, restart: RestartPolicy) -> Any:
    return honest(history, restart) if history.ends[-1] >= 0 else GiveUp(0, "in the past")


def rolling_dice(_self: Any, history: RecoveryHistory, restart: RestartPolicy) -> Any:
    return Restart(1, 1.0) if random.random() < 0.5 else GiveUp(0, "bad luck")


def boasting(_self: Any, history: RecoveryHistory, restart: RestartPolicy) -> Any:
    return evolve(honest(history, restart), **{"attempt": 99} if len(history.ends) == 1 else {})


RECOVERY: dict[str, tuple[Decide, str, tuple[Any, ...]]] = {
    "keeps state": (counting, "test_containers_do_not_hear_of_each_other", ()),
    "rolls dice": (
        rolling_dice,
        "test_the_same_history_gets_the_same_verdict_and_stays_as_it_was",
        (),
    ),
    "mutates": (mutating, "test_the_same_history_gets_the_same_verdict_and_stays_as_it_was", ()),
    "is quadratic": (
        quadratic,
        "test_a_long_history_is_judged_about_as_soon_as_a_short_one",
        (),
    ),
    "knows a clock's origin": (by_the_wall, "test_it_does_not_matter_when_the_clock_began", ()),
    "boasts": (boasting, "test_the_first_crash_is_the_first_attempt", ()),
    "waits for a negative time": (
        lambda _self, h, r: honest(h, r, -1.0),
        "test_a_call_that_fails_over_and_over_gets_sound_verdicts",
        (),
    ),
    "waits for ever": (
        lambda _self, h, r: honest(h, r, float("inf")),
        "test_any_history_and_any_wish_get_a_sound_verdict",
        (),
    ),
    "trips over a long run": (
        lambda _self, h, r: honest(h, r, 1 / (max(h.uptimes) < 1e7)),
        "test_an_odd_history_gets_a_sound_verdict",
        ("runs of years",),
    ),
    "is no judge": (
        lambda *_: None,
        "test_an_odd_history_gets_a_sound_verdict",
        ("one run",),
    ),
    "gives up too soon": (
        lambda _self, h, _r: honest(h, RestartPolicy(max_attempts=2)),
        "test_a_crash_loop_is_restarted_as_often_as_declared",
        (),
    ),
    "never gives up": (
        lambda *_: Restart(1, 1.0),
        "test_a_crash_loop_beyond_that_is_given_up_for_good",
        (),
    ),
    "does not listen": (
        lambda _self, h, _r: honest(h, RestartPolicy()),
        "test_a_containers_own_limit_wins",
        (12,),
    ),
}


def recovery_suite(decide: Decide) -> Any:
    policy = type("Policy", (), {"decide": decide})
    provider = RecoveryProvider(name="mine", factory=lambda _context: policy())
    return type("Suite", (RecoverySuite,), {"provider": provider, "restarts": 3})()


@pytest.mark.parametrize("fault", RECOVERY)
def test_a_recovery_policy_that(fault: str) -> None:
    decide, case, arguments = RECOVERY[fault]
    getattr(recovery_suite(lambda _self, h, r: honest(h, r)), case)(*arguments)
    with pytest.raises(FOUND):
        getattr(recovery_suite(decide), case)(*arguments)


def careless(error: FlowManagerError, at: datetime) -> dict[str, Any]:
    """The standard format without its care."""
    body = standard_format(error, at)
    return {**body, "message": error.message, "details": {**error.details, "retryable": False}}


def telling_all(error: FlowManagerError, at: datetime) -> dict[str, Any]:
    told = "".join(traceback.format_exception(error))
    return {**standard_format(error, at), "debug": told.encode(errors="replace").decode()}


def marking(error: FlowManagerError, at: datetime) -> dict[str, Any]:
    error.about(formatted=True)
    return standard_format(error, at)


def local_time(error: FlowManagerError, at: datetime) -> dict[str, Any]:
    return {**standard_format(error, at), "timestamp": at.isoformat()}


def dating(error: FlowManagerError, at: datetime) -> dict[str, Any]:
    return {**standard_format(error, at), "sent": time.perf_counter_ns()}


class Hoarding:
    """Keeps the details of one failure for the next."""

    def __init__(self) -> None:
        self._known: dict[str, Any] = {}

    def __call__(self, error: FlowManagerError, at: datetime) -> dict[str, Any]:
        self._known.update(standard_format(error, at)["details"])
        return {**standard_format(error, at), "details": dict(self._known)}


FORMATS: dict[str, tuple[Any, str, tuple[Any, ...]]] = {
    "has one kind": (
        lambda error, at: {**standard_format(error, at), "error_type": "system_error"},
        "test_a_client_can_tell_what_failed",
        (KINDS[1],),
    ),
    "forgets whether it passes": (careless, "test_a_client_can_tell_whether_to_try_again", (True,)),
    "tells no zone": (
        local_time,
        "test_the_time_is_told_in_rfc_3339_and_utc",
        (datetime.fromisoformat("2025-01-01T00:00:00Z"),),
    ),
    "forgets what it is about": (
        lambda error, at: {**standard_format(error, at), "details": {}},
        "test_what_the_failure_is_about_is_told",
        (),
    ),
    "sends pages": (
        type("Page", (), {"media_type": "text/html", "__call__": lambda *_: {}})(),
        "test_its_media_type_if_it_names_one_is_one_of_json",
        (),
    ),
    "passes surrogates on": (
        careless,
        "test_any_message_of_any_failure_can_be_told",
        (KINDS[0], "a lone surrogate"),
    ),
    "passes objects on": (careless, "test_any_details_can_be_told", ("an object",)),
    "passes NaN on": (careless, "test_any_details_can_be_told", ("no numbers",)),
    "counts the words": (
        lambda error, at: {**standard_format(error, at), "n": 1 / len(error.message)},
        "test_anything_else_can_be_told",
        (),
    ),
    "knows only the contract": (
        lambda error, at: {
            **standard_format(error, at),
            "n": [k.error_type for k in KINDS].index(error.error_type),
        },
        "test_a_failure_that_a_plugin_made_up_can_be_told",
        (),
    ),
    "tells the cause": (
        telling_all,
        "test_neither_the_cause_nor_the_place_in_the_code_is_told",
        (KINDS[0],),
    ),
    "marks the failure": (
        marking,
        "test_a_failure_is_told_the_same_every_time_and_stays_as_it_was",
        (KINDS[0],),
    ),
    "looks at a clock": (
        dating,
        "test_a_failure_is_told_the_same_every_time_and_stays_as_it_was",
        (KINDS[0],),
    ),
    "hoards": (Hoarding, "test_failures_do_not_hear_of_each_other", ()),
}


def format_suite(form: Any) -> Any:
    def factory(_context: object) -> Any:
        return form() if isinstance(form, type) else form

    provider = ErrorFormatProvider(name="mine", factory=factory)
    return type("Suite", (ErrorFormatSuite,), {"provider": provider})()


@pytest.mark.parametrize("fault", FORMATS)
def test_an_error_format_that(fault: str) -> None:
    form, case, arguments = FORMATS[fault]
    getattr(format_suite(standard_format), case)(*arguments)
    with pytest.raises(FOUND):
        getattr(format_suite(form), case)(*arguments)
