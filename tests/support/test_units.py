"""What is given to one worker as a whole, and what is begun first."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.units import APART, SECONDS, TOGETHER, seconds_of, unit_of

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", [*APART, *TOGETHER, *(name for name in SECONDS if "/" in name)])
def test_every_place_that_is_named_has_tests(name: str) -> None:
    assert list(ROOT.glob(f"{name}*"))


def test_what_is_said_to_take_long_is_a_unit() -> None:
    assert {name for name in SECONDS if "/" not in name} == set(TOGETHER.values())


def test_a_unit_takes_what_the_longest_of_its_names_takes() -> None:
    assert seconds_of("tests/e2e/test_failpoints.py::test_it[a]") == 50
    assert seconds_of("tests/e2e/test_life.py docker") == 15
    assert seconds_of("tests/core/test_bus.py") == 0


def test_a_file_is_divided_by_its_service_and_its_loop_and_no_further() -> None:
    file = "tests/e2e/test_life.py"
    assert unit_of(f"{file}::test_it[docker-3]") == unit_of(f"{file}::TestIt::test[docker]")
    assert unit_of(f"{file}::test_it[docker-trio]") == f"{file} docker trio"
    assert unit_of(f"{file}::test_it[a-b]") == unit_of(f"{file}::test_it") == file


def test_what_shares_a_broker_stays_together() -> None:
    one = unit_of("plugins/rabbitmq/tests/test_rabbitmq_life.py::test_it[asyncio]")
    assert one == unit_of("tests/combinations/test_combinations.py::test_it[docker-tcp-rabbitmq]")


def test_what_has_a_manager_of_its_own_stands_alone() -> None:
    assert unit_of(f"{APART[0]}::test_it[docker-3]") == f"{APART[0]}::test_it[docker-3]"
