"""A pytest plugin: what pytest-xdist gives to one worker as a whole, and what is begun first.

With ``--dist=loadfile`` it hands out files in the order of their names: then one long file that is
begun late leaves all other workers idle at the end. Here a file is divided where its tests share
nothing that takes long to make, files that share something dear go together, and the longest is
begun first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

#: Where each test makes its own manager: every test is a unit.
APART = (
    "tests/chaos/test_chaos.py",
    "tests/e2e/test_disposable.py",
    "tests/e2e/test_failpoints.py",
    "tests/e2e/test_outage.py",
    "tests/e2e/test_transient.py",
)

#: Beginnings of tests' names, and what they share and takes long to make.
TOGETHER: Mapping[str, str] = {
    "plugins/docker/tests/test_docker_podman.py": "Podman",
    "plugins/rabbitmq/tests/": "RabbitMQ",
    "tests/combinations/": "RabbitMQ",
    "tests/packaging/test_third_party.py": "wheels",
    "tests/packaging/test_wheel_": "wheels",
}

#: Values of parameters, for each of which a file makes anew what it shares: service and event loop.
ANEW = ("process", "docker", "asyncio", "trio")

#: Seconds that units take, about, by how their names begin; other units are short. Where this has
#: become wrong, it costs time and nothing else.
SECONDS: Mapping[str, int] = {
    "tests/chaos/test_chaos.py": 100,
    "tests/durable/": 95,
    "RabbitMQ": 90,
    "wheels": 90,
    "Podman": 80,
    "tests/typing/": 60,
    "tests/e2e/test_failpoints.py": 50,
    "tests/examples/test_cli_backend.py": 40,
    "plugins/docker/tests/test_docker_contract.py": 40,
    "tests/e2e/test_watch.py": 50,
    "tests/benchmarks/": 30,
    "tests/e2e/": 15,
    "plugins/docker/": 15,
    "plugins/process/": 15,
    "tests/core/test_suites.py": 15,
    "tests/docs/test_examples.py": 10,
}


def unit_of(nodeid: str) -> str:
    """Name the unit that a test belongs to, by the test's name."""
    for beginning, unit in TOGETHER.items():
        if nodeid.startswith(beginning):
            return unit
    path, _, name = nodeid.partition("::")
    if path in APART:
        return nodeid
    parameters = name.partition("[")[2].rstrip("]").split("-")
    return " ".join([path, *(value for value in ANEW if value in parameters)])


def seconds_of(unit: str) -> int:
    """How long a unit takes, as far as is known."""
    return max((known for name, known in SECONDS.items() if unit.startswith(name)), default=0)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the longest first, on a worker; within a unit the order is kept."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: -seconds_of(unit_of(item.nodeid)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hand out units instead of files."""
    from xdist.scheduler import LoadFileScheduling

    class UnitScheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return unit_of(nodeid)

    return UnitScheduling(config, log) if config.getvalue("dist") == "loadfile" else None
