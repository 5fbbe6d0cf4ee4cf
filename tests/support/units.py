"""A pytest plugin: what pytest-xdist gives to one worker as a whole, and what is begun first.

By itself it hands out tests, or files, in the order of their names: then one long file that is
begun late leaves all other workers idle at the end. Here a file is divided where its tests share
nothing that takes long to make, and the longest is begun first.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

#: Fixtures of the whole run that are dear: what uses one stays on one worker.
DEAR = ("rabbitmq", "podman_engine", "wheel_files")

#: Parameters of a module's fixtures, for each of which what the module shares is made anew.
ANEW = ("service", "anyio_backend")

#: Seconds that units take, about, by how their names begin; other units are short. Where this has
#: become wrong, it costs time and nothing else.
SECONDS: Mapping[str, int] = {
    "tests/chaos/test_chaos.py": 100,
    "rabbitmq": 90,
    "wheel_files": 90,
    "podman_engine": 80,
    "tests/typing/": 60,
    "tests/e2e/test_failpoints.py": 50,
    "tests/examples/test_cli_backend.py": 40,
    "plugins/docker/tests/test_docker_contract.py": 40,
    "tests/e2e/": 15,
    "plugins/docker/": 15,
    "plugins/process/": 15,
    "tests/core/test_suites.py": 15,
    "tests/docs/test_examples.py": 10,
}


def unit_of(item: pytest.Item) -> str:
    """Name the unit that a test belongs to.

    Tests that kill and freeze have manager, and state, each for itself.
    """
    if item.get_closest_marker("trouble"):
        return item.nodeid
    for fixture in DEAR:
        if fixture in getattr(item, "fixturenames", ()):
            return fixture
    path = item.nodeid.partition("::")[0]
    params = item.callspec.params if hasattr(item, "callspec") else {}
    return " ".join([path, *(str(params[name]) for name in ANEW if name in params)])


def seconds_of(unit: str) -> int:
    """How long a unit takes, as far as is known."""
    return max((known for name, known in SECONDS.items() if unit.startswith(name)), default=0)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tell a worker of pytest-xdist what belongs together, and put the longest first."""
    if hasattr(config, "workerinput"):
        units = {item: unit_of(item) for item in items}
        for item, unit in units.items():
            item.add_marker(pytest.mark.xdist_group(unit))
        items.sort(key=lambda item: -seconds_of(units[item]))
