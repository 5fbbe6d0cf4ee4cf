"""``flow-manager config``: every setting, its value, its origin, and no secret."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import Any

import attrs
import pytest

from flow_manager_cli.main import main
from flow_manager_core import PluginHost, Settings
from flow_manager_core.setting_names import Names

SECRET = "hunter2-and-more"
#: A third party's plugin with a secret of its own.
ACME = """
import flow_manager_core as fm
from attrs import field, frozen

@frozen
class AcmeSettings:
    url: str = field(default="", metadata={"secret": True})
    mirror: str = ""

@fm.hookimpl
def flow_manager_recovery_policies():
    return [fm.RecoveryProvider(name="acme", settings_class=AcmeSettings, factory=print)]
"""


@pytest.fixture(autouse=True)
def nothing_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = {name for a in attrs.fields(Settings) for name in a.metadata.get("env", ())}
    for name in list(os.environ):
        if name.startswith("FLOW_MANAGER_") or name in {"CONFIG_FILE", *bare}:
            monkeypatch.delenv(name)


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str]) -> Any:
    """Run the command; gives the rows by name."""

    def run(*arguments: str) -> dict[str, Any]:
        assert main(["config", "--json", *arguments]) == 0
        told = capsys.readouterr()
        assert told.err == ""
        body = json.loads(told.out)
        assert body["faults"] == []
        return {row["name"]: row for row in body["settings"]}

    return run


def test_every_setting_of_the_manager_and_of_every_provider_is_there(shown: Any) -> None:
    expected = {attribute.name for attribute in attrs.fields(Settings)}
    providers = list(PluginHost().all_providers())
    sections = Names.of(providers).sections
    for provider in providers:
        fields = attrs.fields(provider.settings_class)
        section = sections[provider.qualified][0]
        expected |= {f"{section}.{attribute.name}" for attribute in fields}
    assert shown().keys() == expected


def test_each_value_says_where_it_came_from(
    shown: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "fm.toml"
    file.write_text('instance = "file"\n[docker]\ncap_drop = ["A"]\n')
    monkeypatch.setenv("LOG_LEVEL", "debug")
    monkeypatch.setenv("FLOW_MANAGER_BACKOFF_CAP", "7")
    rows = shown("--config", str(file), "--port", "81", "--set", "process.kill_timeout=3")
    found = {name: (row["value"], row["origin"]) for name, row in rows.items()}
    assert found["port"] == (81, "command line")
    assert found["process.kill_timeout"] == (3.0, "command line")
    assert found["log_level"] == ("DEBUG", "environment LOG_LEVEL")
    assert found["backoff.cap"] == (7.0, "environment FLOW_MANAGER_BACKOFF_CAP")
    assert found["instance"] == ("file", str(file))
    assert found["docker.cap_drop"] == (["A"], str(file))
    assert found["host"] == ("127.0.0.1", "default")


def test_what_people_get_is_a_file_of_the_same_settings(
    shown: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    given = ["--port", "81", "--set", 'socketio.allowed_hosts=a"b,c\\d', "--set", "token=x"]
    before = shown(*given)
    assert main(["config", *given]) == 0
    text = capsys.readouterr().out
    assert tomllib.loads(text)["socketio"]["allowed_hosts"] == ['a"b', "c\\d"]
    file = tmp_path / "fm.toml"
    file.write_text(text)
    after = shown("--config", str(file))
    for name, row in before.items():
        if not row["secret"]:
            assert (name, after[name]["value"]) == (name, row["value"])


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_no_secret_is_shown_and_its_origin_is(
    install: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    form: list[str],
) -> None:
    install("acme-things", ACME)
    monkeypatch.setenv("FLOW_MANAGER_TOKEN", SECRET)
    monkeypatch.setenv("FLOW_MANAGER_ACME_URL", f"amqp://user:{SECRET}@broker:5671/{SECRET}")
    mirror = f"acme.mirror=https://user:{SECRET}@mirror/path"
    assert main(["config", *form, "--set", mirror]) == 0
    told = capsys.readouterr()
    assert SECRET not in told.out + told.err
    assert "environment FLOW_MANAGER_TOKEN" in told.out
    assert "amqp://***@broker:5671/***" in told.out
    assert "https://***@mirror/path" in told.out


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_wrong_settings_give_2_and_one_line_for_each_fault(
    capsys: pytest.CaptureFixture[str], form: list[str]
) -> None:
    wrong = ["port=70000", "backoff.factor=0", "backoff.jitter=x", "token=s", "no_auth=yes"]
    code = main(["config", *form, *(part for one in wrong for part in ("--set", one))])
    told = capsys.readouterr()
    assert code == 2
    lines = told.err.splitlines()
    fields = [line.split(": ")[1] for line in lines]
    assert fields == ["backoff.factor", "backoff.jitter", "no_auth", "port"]
    assert all(line.startswith("flow-manager: ") for line in lines)
    if form:
        assert sorted(fault["field"] for fault in json.loads(told.out)["faults"]) == fields
    else:
        assert told.out == ""


def test_serve_refuses_with_the_same_lines(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = ["--port", "many", "--set", "docker.pids_limit=-1", "--set", "nothing=1"]
    assert main(["config", *wrong]) == 2
    expected = capsys.readouterr().err
    assert main(["serve", *wrong]) == 2
    assert capsys.readouterr().err == expected
    assert len(expected.splitlines()) == 3


def test_tokens_that_cannot_be_are_told_all_at_once_by_config_and_serve(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "short").write_text(SECRET[:7])
    (tmp_path / "same").write_text(SECRET)
    entries = [
        *("a:boss:/x", "b:read:relative", f"c:read:{tmp_path}/none", SECRET),
        *(f"d:read:{tmp_path}/short", f"e:read:{tmp_path}/same", f"f:admin:{tmp_path}/same"),
    ]
    file = tmp_path / "fm.toml"
    file.write_text(f'host = "0.0.0.0"\ntokens = {json.dumps(entries)}\n')
    given = ["--config", str(file), "--state-dir", str(tmp_path / "state")]
    assert main(["config", *given]) == 2
    told = capsys.readouterr()
    lines = told.err.splitlines()
    assert len(lines) == 6
    assert all(line.startswith("flow-manager: tokens: ") for line in lines)
    assert SECRET[:7] not in told.out + told.err
    assert main(["serve", *given]) == 2
    assert capsys.readouterr().err == told.err


def test_tokens_that_are_less_safe_than_they_could_be_are_noted(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "dash").write_text("short")
    (tmp_path / "dash").chmod(0o444)
    given = ["--set", f"tokens=dash:read:{tmp_path}/dash", "--state-dir", str(tmp_path)]
    assert main(["config", "--json", *given]) == 0
    told = " ".join(json.loads(capsys.readouterr().out)["notes"])
    assert "can be guessed" in told
    assert "can be read by others" in told
    assert main(["config", *given]) == 0
    assert capsys.readouterr().out.count("# Note: tokens: ") == 2


def test_a_misspelt_variable_is_noted_in_both_forms(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOW_MANAGER_PROT", SECRET)
    assert main(["config"]) == 0
    text = capsys.readouterr().out
    assert "# Note: FLOW_MANAGER_PROT is in the environment" in text
    assert main(["config", "--json"]) == 0
    (note,) = json.loads(capsys.readouterr().out)["notes"]
    assert "FLOW_MANAGER_PROT" in note
    assert SECRET not in text + note


def test_nothing_is_made(tmp_path: Path, shown: Any) -> None:
    shown("--state-dir", str(tmp_path / "state"), "--socket-dir", str(tmp_path / "sockets"))
    assert list(tmp_path.iterdir()) == []
