"""Chosen subsets of the wheels work, or say in one line what to install."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from tests.packaging.dists import DISTS, ROOT, Dist
from tests.packaging.environments import Environment, without

pytestmark = pytest.mark.wheels

Install = Callable[..., Environment]

#: The least that a person with nothing but Python needs to see it work.
LEAST = [f"flow-manager-{part}" for part in ("core", "process", "unix-socket", "backoff", "cli")]

#: Commands that need a plugin, and commands that do without it.
NEEDS = {
    "backoff": [],
    "docker": [["demo", "--backend", "docker"]],
    "intensity": [["serve", "--set", "recovery=intensity"]],
    "problem": [["serve", "--set", "error_format=problem"]],
    "process": [["demo", "--backend", "process"], ["demo"]],
    "rabbitmq": [["serve", "--set", "frontends=socketio,rabbitmq"]],
    "socketio": [["serve"]],
    "tcp": [["serve", "--set", "transport=tcp"]],
    "unix_socket": [["demo"]],
}
DOES_WITHOUT = {
    "backoff": [["demo"], ["plugins"]],
    "docker": [["demo"], ["plugins"]],
    "intensity": [["demo"], ["plugins"]],
    "problem": [["demo"], ["plugins"]],
    "process": [["plugins"]],
    "rabbitmq": [["demo"], ["plugins"]],
    "socketio": [["demo"], ["plugins"]],
    "tcp": [["demo"], ["plugins"]],
    "unix_socket": [["plugins"]],
}


def pairs(table: dict[str, list[list[str]]]) -> list[object]:
    return [
        pytest.param(name, command, id=f"{name}: {' '.join(command)}")
        for name, commands in table.items()
        for command in commands
    ]


def dist_of(name: str) -> Dist:
    return Dist(ROOT / "plugins" / name)


@pytest.fixture(scope="session")
def everything(install: Install) -> Environment:
    return install(*(dist.name for dist in DISTS))


def test_the_least_subset_shows_the_demo_and_leaves_nothing(install: Install) -> None:
    environment = install(*LEAST)
    before = sorted(environment.folder.iterdir())
    outcome = environment.use("flow-manager", "demo")
    assert outcome.works(), outcome
    assert sorted(environment.folder.iterdir()) == before
    assert not list((environment.folder / "here").iterdir())


@pytest.mark.parametrize(("name", "command"), pairs(NEEDS))
def test_a_plugin_left_out_is_named_with_what_brings_it(
    install: Install, name: str, command: list[str]
) -> None:
    outcome = install(*without(dist_of(name))).use("flow-manager", *command)
    assert outcome.refuses("pip install", dist_of(name).name), outcome


@pytest.mark.parametrize(("name", "command"), pairs(DOES_WITHOUT))
def test_the_rest_works_without_a_plugin(install: Install, name: str, command: list[str]) -> None:
    outcome = install(*without(dist_of(name))).use("flow-manager", *command)
    assert outcome.works(), outcome


@pytest.mark.parametrize(("name", "command"), pairs(NEEDS))
def test_a_blocked_plugin_is_named_as_blocked(
    everything: Environment, name: str, command: list[str]
) -> None:
    outcome = everything.use("flow-manager", *command, "--block", name)
    assert outcome.refuses(name, "blocked"), outcome


@pytest.mark.parametrize(("name", "command"), pairs(DOES_WITHOUT))
def test_the_rest_works_with_a_plugin_blocked(
    everything: Environment, name: str, command: list[str]
) -> None:
    outcome = everything.use("flow-manager", *command, "--block", dist_of(name).name)
    assert outcome.works(), outcome


def test_without_the_command_line_the_service_runs_and_ends_on_a_signal(install: Install) -> None:
    environment = install(*without(dist_of("cli")))
    with environment.start("python", "-m", "flow_manager_core") as process:
        first = process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate()
    assert first.startswith("Flow Manager"), first + out + err
    assert process.returncode == 0, out + err


def test_without_the_command_line_its_options_are_refused_with_what_brings_it(
    install: Install,
) -> None:
    environment = install(*without(dist_of("cli")))
    outcome = environment.use("python", "-m", "flow_manager_core", "--port", "0")
    assert outcome.refuses("pip install", "flow-manager-cli"), outcome


def test_every_plugin_but_the_command_line_is_left_out_here() -> None:
    there = {dist.folder.name for dist in DISTS if dist.is_plugin}
    assert NEEDS.keys() == DOES_WITHOUT.keys() == there - {"cli"}


def test_without_the_sdk_everything_else_works(install: Install) -> None:
    environment = install(*without(Dist(ROOT / "sdk")))
    assert environment.use("flow-manager", "plugins").works()
