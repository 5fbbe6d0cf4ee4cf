"""Settings: command line over environment over file over default, and every fault at once."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from attrs import field, frozen, validators

from flow_manager_core.errors import ConfigurationError
from flow_manager_core.providers import RecoveryProvider
from flow_manager_core.settings import LogFormat, LogLevel, Settings
from flow_manager_core.settings_check import settings_faults
from flow_manager_core.sources import Sources
from flow_manager_core.tokens import token_path, with_token


@frozen
class MineSettings:
    size: int = field(default=1, validator=validators.ge(0))
    names: tuple[str, ...] = ()


def _nothing(_context: Any) -> Any:
    raise NotImplementedError


MINE = RecoveryProvider(name="mine", settings_class=MineSettings, factory=_nothing)


def faults_of(sources: Sources) -> dict[str, str]:
    with pytest.raises(ConfigurationError) as caught:
        sources.check()
    return {fault.field: fault.message for fault in caught.value.faults}


def test_the_nearest_source_wins(tmp_path: Path) -> None:
    file = tmp_path / "fm.toml"
    file.write_text('port = 1\nhost = "::1"\ninstance = "file"\n[mine]\nsize = 5\n')
    sources = Sources.read(
        {"port": "3", "mine.names": "a, b", "config_file": str(file)},
        {"PORT": "2", "FLOW_MANAGER_INSTANCE": "environment", "FLOW_MANAGER_MINE_SIZE": "7"},
    )
    settings = sources.core()
    assert (settings.port, settings.host, settings.instance) == (3, "::1", "environment")
    assert sources.providers([MINE]) == {"recovery_mine": MineSettings(7, ("a", "b"))}
    sources.check()
    assert sources.origins["port"] == "command line"
    assert sources.origins["host"] == str(file)
    assert sources.origins["instance"] == "environment FLOW_MANAGER_INSTANCE"
    assert sources.origins["backend"] == "default"


def test_the_bare_names_of_the_contract_work() -> None:
    settings = Sources.read(
        {},
        {
            "LOG_LEVEL": "debug",
            "LOG_FORMAT": "json",
            "HOST": "127.0.0.2",
            "PORT": "81",
            "SOCKET_DIR": "/tmp/s",
            "STATE_DIR": "/tmp/t",
            "CORS_ORIGINS": "https://a.example, https://b.example",
            "FLOW_MANAGER_VOLUME_ROOTS": "/srv/a:/srv/b",
        },
    ).core()
    assert settings.log_level is LogLevel.DEBUG
    assert settings.log_format is LogFormat.JSON
    assert (settings.host, settings.port) == ("127.0.0.2", 81)
    assert settings.cors_origins == ("https://a.example", "https://b.example")
    assert settings.volume_roots == (Path("/srv/a"), Path("/srv/b"))
    assert (settings.socket_dir, settings.state_dir) == (Path("/tmp/s"), Path("/tmp/t"))


def test_a_json_file_serves_as_well(tmp_path: Path) -> None:
    file = tmp_path / "fm.json"
    file.write_text(json.dumps({"port": 5, "mine": {"names": ["x"]}}))
    sources = Sources.read({}, {"CONFIG_FILE": str(file)})
    assert sources.core().port == 5
    assert sources.providers([MINE])["recovery_mine"].names == ("x",)


def test_every_fault_is_listed_with_its_origin() -> None:
    sources = Sources.read(
        {"no_auth": "perhaps"},
        {"PORT": "many", "LOG_LEVEL": "loud", "FLOW_MANAGER_PULL_TIMEOUT": "x"},
    )
    assert sources.core().pull_timeout == Settings().pull_timeout
    found = faults_of(sources)
    assert set(found) == {"no_auth", "port", "log_level", "pull_timeout"}
    assert "environment PORT" in found["port"]
    assert "command line" in found["no_auth"]


def test_a_value_that_a_provider_refuses_is_a_fault() -> None:
    sources = Sources.read({"mine.size": "-1"}, {})
    assert sources.providers([MINE]) == {}
    assert faults_of(sources) == {"mine.size": "'size' must be >= 0: -1 (command line)"}


def test_unknown_keys_are_faults(tmp_path: Path) -> None:
    file = tmp_path / "fm.toml"
    file.write_text("prot = 1\n[mine]\nsiez = 5\n[other]\nx = 1\n")
    sources = Sources.read({"config_file": str(file), "colour": "blue"}, {})
    sources.core()
    sources.providers([MINE])
    assert faults_of(sources).keys() == {"prot", "mine.siez", "other", "colour"}


@pytest.mark.parametrize("content", [b"port = ", b"\xff", None])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "fm.toml"
    if content is not None:
        file.write_bytes(content)
    (named,) = faults_of(Sources.read({"config_file": str(file)}, {}))
    assert named == str(file)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("port", 70000),
        ("instance", "a/b"),
        ("frame_limit", 1),
        ("pull_timeout", 0.0),
        ("socket_dir", Path("relative")),
        ("volume_roots", (Path("/"),)),
    ],
)
def test_values_that_cannot_be_are_refused(field: str, value: object) -> None:
    faults = settings_faults(Settings(**{field: value}))  # type: ignore[arg-type]
    assert [fault.field for fault in faults] == [field]


def test_no_auth_is_accepted_on_loopback_alone() -> None:
    assert not settings_faults(Settings(no_auth=True))
    assert not settings_faults(Settings(no_auth=True, host="::1"))
    assert settings_faults(Settings(no_auth=True, host="0.0.0.0"))
    assert settings_faults(Settings(no_auth=True, token="x"))


def test_a_made_token_is_long_private_and_kept(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path / "state")
    first = with_token(settings).token
    assert len(first) >= 32
    assert with_token(settings).token == first
    assert stat.S_IMODE(os.stat(token_path(settings)).st_mode) == 0o600
    assert first not in repr(with_token(settings))


def test_a_token_that_others_can_read_is_refused(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path)
    with_token(settings)
    token_path(settings).chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        with_token(settings)


def test_a_token_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(" abc \n")
    assert with_token(Settings(token_file=str(file))).token == "abc"
    file.write_text("")
    with pytest.raises(ConfigurationError, match="no token"):
        with_token(Settings(token_file=str(file)))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        with_token(Settings(token_file=str(tmp_path / "none")))


def test_no_auth_needs_no_token() -> None:
    assert with_token(Settings(no_auth=True)).token == ""
