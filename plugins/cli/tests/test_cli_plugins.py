"""``flow-manager plugins``: what is installed, chosen, blocked and broken, and why."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from flow_manager_cli.main import main
from tests.support.programs import program

POLICY = """
import flow_manager_core as fm
@fm.hookimpl
def flow_manager_recovery_policies():
    return [fm.RecoveryProvider(name="acme", summary="of acme", factory=lambda context: None)]
"""


@pytest.fixture(autouse=True)
def nothing_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("FLOW_MANAGER_") or name in {"CONFIG_FILE", "PORT", "HOST"}:
            monkeypatch.delenv(name)


@pytest.fixture
def listed(capsys: pytest.CaptureFixture[str]) -> Any:
    """Run the command; gives its exit code, the plugins by distribution, and the fault lines."""

    def run(*arguments: str) -> tuple[int, dict[str, Any], list[str]]:
        code = main(["plugins", "--json", *arguments])
        told = capsys.readouterr()
        body = json.loads(told.out)
        lines = told.err.splitlines()
        assert len(body["faults"]) == len(lines)
        return code, {one["distribution"]: one for one in body["plugins"]}, lines

    return run


def provider(plugin: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in plugin["provides"] if one["name"] == name)


def test_what_is_chosen_says_by_which_setting_from_where(
    listed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "fm.toml"
    file.write_text('recovery = "none"\n')
    monkeypatch.setenv("FLOW_MANAGER_ERROR_FORMAT", "standard")
    code, found, faults = listed("--config", str(file), "--backend", "process")
    assert (code, faults) == (0, [])
    core = found["flow-manager-core"]
    assert provider(core, "none")["reason"] == f"chosen: recovery = none ({file})"
    assert "environment FLOW_MANAGER_ERROR_FORMAT" in provider(core, "standard")["reason"]
    process = provider(found["flow-manager-process"], "process")
    assert process["reason"] == "chosen: backend = process (command line)"
    assert found["flow-manager-process"]["chosen"]
    assert not found["flow-manager-backoff"]["chosen"]
    assert provider(found["flow-manager-socketio"], "socketio")["chosen"]


def test_a_backend_that_was_passed_over_says_why(
    listed: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    code, found, _ = listed()
    assert code == 0
    docker = provider(found["flow-manager-docker"], "docker")
    assert docker["reason"].startswith("not available: ")
    assert provider(found["flow-manager-process"], "process")["chosen"]


def test_a_broken_plugin_that_is_not_chosen_gives_1(listed: Any, install: Any) -> None:
    install("acme-things", "import nothing_of_this_name")
    code, found, faults = listed("--backend", "process")
    assert (code, faults) == (1, [])
    acme = found["acme-things"]
    assert (acme["status"], acme["version"], acme["provides"]) == ("broken", "1.2", [])
    assert "nothing_of_this_name" in acme["reason"]


def test_a_broken_plugin_that_is_chosen_gives_2_as_serve_does(
    listed: Any, install: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    install("acme-things", "import nothing_of_this_name")
    chosen = ["--backend", "process", "--set", "recovery=acme"]
    code, found, faults = listed(*chosen)
    assert code == 2
    assert found["acme-things"]["status"] == "broken"
    (line,) = faults
    assert line.startswith("flow-manager: recovery: ")
    assert "acme-things" in line
    assert main(["serve", *chosen]) == 2
    assert capsys.readouterr().err.splitlines() == faults


def test_a_blocked_plugin_is_listed_and_not_broken(listed: Any) -> None:
    code, found, _ = listed("--backend", "process", "--block", "flow-manager-docker")
    assert code == 0
    assert found["flow-manager-docker"]["status"] == "blocked"
    assert found["flow-manager-docker"]["reason"] == "blocked by the settings"


def test_what_is_chosen_and_not_there_is_told_and_breaks_nothing(listed: Any) -> None:
    code, found, (line,) = listed("--backend", "process", "--block", "socketio")
    assert code == 0
    assert found["flow-manager-socketio"]["status"] == "blocked"
    assert line.startswith("flow-manager: frontend: the frontend 'socketio' cannot be used")


def test_wrong_settings_are_listed_beside_the_plugins(listed: Any) -> None:
    code, found, faults = listed("--backend", "process", "--set", "port=many")
    assert code == 2
    assert found
    assert faults == [
        "flow-manager: port: must be a whole number, not 'many' (command line)",
    ]


def test_people_get_one_line_for_each_thing(
    install: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    install("acme-things", POLICY)
    assert main(["plugins", "--backend", "process", "--set", "recovery=acme"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "acme_things  [loaded]  acme-things 1.2" in lines
    assert "    recovery acme: of acme  [chosen: recovery = acme (command line)]" in lines


def test_the_service_runs_and_logs_a_plugin_that_is_broken(install: Any, tmp_path: Path) -> None:
    folder = install("acme-things", "raise SystemExit('not me')")
    with program(
        [
            *(sys.executable, "-m", "flow_manager_cli.main", "serve"),
            *("--backend", "process", "--port", "0", "--no-auth"),
            *("--state-dir", str(tmp_path / "state"), "--set", "log_file=off"),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(folder), "SOCKET_DIR": str(tmp_path / "s")},
    ) as service:
        assert service.stdout is not None
        while "Listening on" not in (line := service.stdout.readline()):
            assert line, "it ended"
        service.terminate()
        _, log = service.communicate(timeout=20)
    assert service.returncode == 0
    assert "A plugin is broken, plugin=acme_things, distribution=acme-things" in log
    assert "SystemExit: not me" in log
