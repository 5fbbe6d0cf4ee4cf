"""Providers' own settings: every fault at once, no secret told, no name with two meanings."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from attrs import field, frozen, validators

from flow_manager_core.configuration import configure, read_configuration
from flow_manager_core.errors import ConfigurationError
from flow_manager_core.models import Fault
from flow_manager_core.providers import (
    FrontendProvider,
    NoSettings,
    Provider,
    RecoveryProvider,
    TransportProvider,
)
from flow_manager_core.setting_display import shown
from flow_manager_core.setting_values import build_settings, can_be_set, structure_setting
from flow_manager_core.sources import Sources
from flow_manager_core.structuring import Faulty

SECRET = "hunter2-and-more"


class Colour(StrEnum):
    RED = "red"


@frozen
class Own:
    size: int = field(default=1, validator=validators.gt(0))
    names: tuple[str, ...] = ()
    path: Path | None = None
    colour: Colour = Colour.RED
    password: str = field(default="", metadata={"secret": True}, repr=False)
    port: int = field(default=1, validator=[validators.gt(0), validators.lt(65536)])


def provider(kind: type[Provider], name: str, settings_class: type = Own) -> Any:
    return kind(name=name, settings_class=settings_class, factory=_nothing)  # type: ignore[call-arg]


def _nothing(*_arguments: Any) -> Any:
    raise NotImplementedError


def read(
    providers: list[Provider], file: str = "", folder: Path | None = None, **environ: str
) -> tuple[dict[str, Any], Sources]:
    command_line = {}
    if folder is not None:
        path = folder / "fm.toml"
        path.write_text(file)
        command_line["config_file"] = str(path)
    sources = Sources.read(command_line, environ)
    sources.core()
    return sources.providers(providers), sources


def told(sources: Sources) -> dict[str, str]:
    return {fault.field: fault.message for fault in sources.faults}


def test_all_faults_of_all_sections_and_sources_come_in_one_go(tmp_path: Path) -> None:
    file = tmp_path / "fm.toml"
    file.write_text(
        "prot = 1\nheartbeat_interval = 0.01\n[backoff]\nfactor = 0.5\njitter = 2\nnope = 1\n"
        "[docker]\nquick_threads = 0\n[unix_socket]\nbacklog = 0\n"
    )
    with pytest.raises(ConfigurationError) as caught:
        configure(
            {
                "config_file": str(file),
                "transport": "pigeon",
                "socketio.ping_timeout": "-1",
                "process.output_limit": "much",
            },
            {"PORT": "many", "FLOW_MANAGER_TOKEN_FILE": str(tmp_path / "none")},
        )
    found = {fault.field: fault.message for fault in caught.value.faults}
    assert found.keys() == {
        "prot",
        "heartbeat_interval",
        "backoff.factor",
        "backoff.jitter",
        "backoff.nope",
        "docker.quick_threads",
        "unix_socket.backlog",
        "transport",
        "socketio.ping_timeout",
        "process.output_limit",
        "port",
        "token_file",
    }
    assert all(message.isprintable() for message in found.values())
    assert found["backoff.factor"].endswith(f"({file})")
    assert found["socketio.ping_timeout"].endswith("(command line)")


def test_every_type_that_a_setting_can_have_is_read_from_text_and_file(tmp_path: Path) -> None:
    mine = [provider(RecoveryProvider, "mine")]
    expected = Own(3, ("a", "b"), Path("/x"), Colour.RED)
    text = {"SIZE": "3", "NAMES": "a,b", "PATH": "/x", "COLOUR": "Red"}
    found, sources = read(mine, **{f"FLOW_MANAGER_MINE_{k}": v for k, v in text.items()})
    assert found == {"recovery_mine": expected}
    assert sources.origins["mine.size"] == "environment FLOW_MANAGER_MINE_SIZE"
    file = '[mine]\nsize = 3\nnames = ["a", "b"]\npath = "/x"\ncolour = "red"\n'
    found, sources = read(mine, file, tmp_path)
    assert found == {"recovery_mine": expected}
    assert sources.faults == []


@pytest.mark.parametrize("kind", [dict, int | str, tuple[str, int], list[str], object, "text"])
def test_a_type_that_settings_cannot_have_is_found_before_anybody_sets_it(kind: Any) -> None:
    assert not can_be_set(kind)
    with pytest.raises((Faulty, IndexError)):
        structure_setting({}, kind)


def test_a_rule_between_two_values_is_a_fault_of_the_section() -> None:
    @frozen
    class Range:
        least: int = 0
        most: int = field(default=10)

        @most.validator
        def _check(self, _attribute: Any, value: int) -> None:
            if value < self.least:
                raise ValueError(f"must be at least {self.least}\nor more")

        def __attrs_post_init__(self) -> None:
            if self.least == 7:
                raise ZeroDivisionError

    assert build_settings(Range, {"least": 20, "most": 30}) == (Range(20, 30), [])
    _, faults = build_settings(Range, {"least": 20})
    assert faults == [Fault("most", "must be at least 20 or more")]
    _, faults = build_settings(Range, {"least": 7})
    assert faults == [Fault("", "ZeroDivisionError")]


def test_a_private_field_is_set_by_its_name() -> None:
    @frozen
    class Private:
        _inner: int = 1

    settings, faults = build_settings(Private, {"_inner": 5})
    assert (settings, faults) == (Private(5), [])


@pytest.mark.parametrize("value", [SECRET, "a\nb\t" + SECRET, f"amqp://u:{SECRET}@host/"])
def test_no_fault_tells_a_secret(value: str) -> None:
    @frozen
    class Guarded:
        password: str = field(
            default="",
            metadata={"secret": True},
            validator=validators.matches_re(r"\d*"),
        )
        number: int = field(default=0, metadata={"secret": True})

        def __attrs_post_init__(self) -> None:
            if self.password:
                raise ValueError(f"bad {self.password}")

    guarded = provider(RecoveryProvider, "mine", Guarded)
    name = "FLOW_MANAGER_MINE"
    _, sources = read([guarded], **{f"{name}_PASSWORD": value, f"{name}_NUMBER": value})
    assert sources.faults
    assert SECRET not in repr(sources.faults)
    assert SECRET not in repr(sources.rows)


@pytest.mark.parametrize(
    ("value", "secret", "expected"),
    [
        ("", True, ""),
        (SECRET, True, "***"),
        (7, True, "***"),
        (("a", "b"), True, "***"),
        ("amqp://user:pass@host:5672/vhost?x=pass", True, "amqp://***@host:5672/***"),
        ("amqp://user:p/ass@host/", True, "***"),
        ("amqp://user:p@ss@host/", True, "***"),
        ("amqp://user:p#ss@host/", True, "***"),
        ("amqp://host/pass", True, "***"),
        ("amqp://u:p@host:port/", True, "***"),
        ("amqp://user:pass@host/v", False, "amqp://***@host/v"),
        ("amqp://user:p/a#s?s@host/v", False, "amqp://***@host/v"),
        (("https://u:p@h", "x"), False, ["https://***@h", "x"]),
        (Path("/a@b"), False, "/a@b"),
        (Colour.RED, False, "red"),
        (None, False, None),
        (1.5, False, 1.5),
    ],
)
def test_values_are_shown_without_secrets(value: Any, secret: bool, expected: Any) -> None:
    assert shown(value, secret=secret) == expected


def twins(settings_class: type = Own) -> list[Provider]:
    return [
        provider(TransportProvider, "tcp"),
        provider(FrontendProvider, "tcp", settings_class),
    ]


def test_two_kinds_may_share_a_name_and_are_set_by_their_kinds(tmp_path: Path) -> None:
    found, sources = read(
        twins(),
        "[transport_tcp]\nsize = 5\n",
        tmp_path,
        FLOW_MANAGER_FRONTEND_TCP_SIZE="6",
        FLOW_MANAGER_TCP="not a setting",
    )
    assert sources.faults == []
    assert (found["transport_tcp"].size, found["frontend_tcp"].size) == (5, 6)
    assert sources.origins["frontend_tcp.size"] == "environment FLOW_MANAGER_FRONTEND_TCP_SIZE"


def test_a_shared_name_alone_is_refused_with_what_it_could_mean(tmp_path: Path) -> None:
    _, sources = read(twins(), "[tcp]\nsize = 5\n", tmp_path)
    assert "transport_tcp or frontend_tcp" in told(sources)["tcp"]
    sources = Sources.read({"tcp.size": "5"}, {})
    sources.providers(twins())
    assert told(sources).keys() == {"tcp"}


def test_a_shared_variable_is_refused_with_what_it_could_mean() -> None:
    @frozen
    class Deep:
        b_c: int = 1

    @frozen
    class Flat:
        c: int = 1

    pair = [provider(TransportProvider, "a", Deep), provider(TransportProvider, "a_b", Flat)]
    found, sources = read(pair, FLOW_MANAGER_A_B_C="5")
    assert "transport_a.b_c or transport_a_b.c" in told(sources)["FLOW_MANAGER_A_B_C"]
    assert (found["transport_a"].b_c, found["transport_a_b"].c) == (1, 1)


def test_a_provider_named_like_a_setting_of_the_manager_is_set_by_its_kind(
    tmp_path: Path,
) -> None:
    host = [provider(TransportProvider, "host")]
    found, sources = read(host, 'host = "::1"\n[transport_host]\nsize = 5\n', tmp_path)
    assert sources.faults == []
    assert found["transport_host"].size == 5
    _, sources = read(host, "[host]\nsize = 5\n", tmp_path)
    assert "must be a string, not an object" in told(sources)["host"]


def test_no_provider_takes_a_variable_of_the_manager() -> None:
    @frozen
    class File:
        file: str = ""

    found, sources = read(
        [provider(TransportProvider, "token", File)], FLOW_MANAGER_TOKEN_FILE="/x"
    )
    assert found["transport_token"].file == ""
    assert sources.origins["token_file"] == "environment FLOW_MANAGER_TOKEN_FILE"


def test_a_name_that_is_no_variable_is_read_from_one_that_is() -> None:
    found, _ = read([provider(TransportProvider, "my-tcp")], FLOW_MANAGER_MY_TCP_SIZE="4")
    assert found["transport_my-tcp"].size == 4


def test_a_section_of_a_provider_with_nothing_to_set_may_be_there(tmp_path: Path) -> None:
    nothing = [provider(RecoveryProvider, "none", NoSettings)]
    _, sources = read(nothing, "[none]\n", tmp_path)
    assert sources.faults == []
    _, sources = read(nothing, "[none]\nx = 1\n", tmp_path)
    assert told(sources).keys() == {"none.x"}


def test_a_section_that_is_a_value_is_refused(tmp_path: Path) -> None:
    _, sources = read([provider(RecoveryProvider, "mine")], "mine = 5\n", tmp_path)
    assert "must be a section" in told(sources)["mine"]


def test_the_section_of_a_plugin_that_is_not_loaded_does_not_refuse_the_start(
    tmp_path: Path,
) -> None:
    file = tmp_path / "fm.toml"
    file.write_text("[docker]\nquick_threads = 3\n")
    given = {"config_file": str(file), "blocked_plugins": "docker", "docker.init": "true"}
    found = configure(given, {})
    assert len(found.notes) == 2
    assert all("flow-manager-docker) is blocked by the settings" in note for note in found.notes)
    file.write_text("[dokcer]\nquick_threads = 3\n")
    with pytest.raises(ConfigurationError, match="dokcer: unknown setting or section"):
        configure({"config_file": str(file), "blocked_plugins": "docker"}, {})


def test_a_variable_that_nobody_reads_is_noted() -> None:
    given = {"FLOW_MANAGER_PROT": "1", "FLOW_MANAGER_BACKOFF_CAP": "1", "FLOW_MANAGER_PORT": "1"}
    found = configure({}, {**given, "CONFIG_FILE": "", "PATH": "/bin"})
    assert found.notes == ("FLOW_MANAGER_PROT is in the environment, and no setting reads it",)


def test_the_section_of_a_broken_plugin_does_not_refuse_the_start(
    tmp_path: Path, install: Any
) -> None:
    install("acme-things", "raise ImportError('half installed')")
    file = tmp_path / "fm.toml"
    file.write_text("[acme_backend]\nsize = 3\n")
    found = configure({"config_file": str(file)}, {})
    assert "half installed" in found.notes[0]


def test_a_service_shows_the_frontends_that_it_has() -> None:
    rows = {(row.section, row.name): row for row in read_configuration({}, {}).rows}
    assert rows["", "frontends"].value == ["socketio"]
    assert rows["", "frontends"].origin == "default"
