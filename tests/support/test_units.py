"""What is given to one worker as a whole names tests that are there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.units import SECONDS, seconds_of, unit_of

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", [name for name in SECONDS if "/" in name])
def test_every_file_and_folder_that_is_said_to_take_long_is_there(name: str) -> None:
    assert (ROOT / name).exists()


def test_a_unit_takes_what_the_longest_of_its_names_takes() -> None:
    assert seconds_of("tests/e2e/test_failpoints.py::test_it[a]") == 50
    assert seconds_of("tests/e2e/test_life.py docker") == 15
    assert seconds_of("tests/core/test_bus.py") == 0


def test_tests_of_one_file_are_divided_by_their_loop(pytester: pytest.Pytester) -> None:
    items = pytester.getitems(
        "import pytest\n"
        "@pytest.fixture(params=['asyncio', 'trio'])\ndef anyio_backend(request): ...\n"
        "def test_one(anyio_backend): ...\n"
        "def test_two(anyio_backend): ...\n"
        "def test_three(): ...\n"
    )
    file = items[0].nodeid.partition("::")[0]
    assert {unit_of(item) for item in items} == {file, f"{file} asyncio", f"{file} trio"}


def test_what_shares_a_broker_stays_together(pytester: pytest.Pytester) -> None:
    item = pytester.getitem("def test_it(rabbitmq): ...", "test_it")
    assert unit_of(item) == "rabbitmq"


def test_what_kills_and_freezes_stands_alone(pytester: pytest.Pytester) -> None:
    source = "import pytest\n@pytest.mark.trouble\ndef test_it(): ..."
    item = pytester.getitem(source, "test_it")
    assert unit_of(item) == item.nodeid
