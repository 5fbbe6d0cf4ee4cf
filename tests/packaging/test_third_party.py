"""A plugin that is none of ours is installed from its wheel, found, and chosen by a setting."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.packaging.dists import ROOT, Dist
from tests.packaging.environments import Environment
from tests.packaging.wheelhouse import run

pytestmark = pytest.mark.wheels

EXAMPLE = Dist(ROOT / "examples" / "cli_backend")

#: What the plugin is used with.
OURS = ("core", "cli", "unix-socket", "backoff", "socketio")

CHOOSING = """
backend = "engine_cli"

[engine_cli]
program = ["{program}"]
"""


@pytest.fixture(scope="module")
def environment(
    wheel_files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Environment:
    folder = tmp_path_factory.mktemp("third-party")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    run([*pip, "--wheel-dir", folder / "wheels", EXAMPLE.folder])
    (wheel,) = (folder / "wheels").glob("*.whl")
    ours = [wheel_files[f"flow-manager-{name}"] for name in OURS]
    return Environment.make(folder, [*ours, wheel])


def test_it_is_listed_with_its_distribution_and_what_it_offers(environment: Environment) -> None:
    outcome = environment.use("flow-manager", "plugins")
    assert outcome.works(), outcome
    assert "engine_cli  [loaded]  flow-engine-cli 0.1.0" in outcome.out
    assert "backend engine_cli: flows in containers" in outcome.out


def test_it_declares_what_it_imports() -> None:
    assert EXAMPLE.imports() == {requirement.name for requirement in EXAMPLE.requirements}


def test_the_backend_itself_has_less_than_a_hundred_lines() -> None:
    assert len((EXAMPLE.package / "backend.py").read_text().splitlines()) < 100


def test_it_is_chosen_by_a_setting_and_set_by_its_section(environment: Environment) -> None:
    config = environment.folder / "manager.toml"
    config.write_text(CHOOSING.format(program="no-such-engine"))
    with environment.start("flow-manager", "serve", "--config", str(config)) as process:
        assert process.stdout
        first = process.stdout.readline()
        process.terminate()
        out, err = process.communicate()
    assert process.returncode == 0, out + err
    assert "no-such-engine" in first + out + err


def test_a_wrong_setting_of_it_is_refused_by_name(environment: Environment) -> None:
    config = environment.folder / "wrong.toml"
    config.write_text('backend = "engine_cli"\n[engine_cli]\ntimeout = "soon"\n')
    outcome = environment.use("flow-manager", "serve", "--config", str(config))
    assert outcome.refuses("engine_cli.timeout"), outcome
