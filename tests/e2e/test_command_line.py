"""The command line as a client of a real service: it finds the address and the token by itself."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from flow_manager_cli.main import main
from tests.e2e.service import Service
from tests.support.engine import missing
from tests.support.programs import program

CLI = (sys.executable, "-m", "flow_manager_cli.main")
WATCHER = "the token of a dashboard"
MADE = {"image": "python", "command": ["-c", "import time; time.sleep(99)"]}


@pytest.fixture(scope="module")
def service(tmp_path_factory: Any) -> Iterator[Service]:
    """A service that has made its token itself, and has another one in a file."""
    root = tmp_path_factory.mktemp("service")
    (root / "watcher").write_text(WATCHER)
    (root / "watcher").chmod(0o600)
    more = {"FLOW_MANAGER_TOKEN": "", "FLOW_MANAGER_TOKENS": f"dash:read:{root}/watcher"}
    with Service(root, "process", "python", "", **more) as running:
        yield running


@pytest.fixture
def settings(service: Service) -> dict[str, str]:
    """What makes the command line find it, as in the service's own environment."""
    return {"STATE_DIR": str(service._home / "state"), "PORT": service.url.rpartition(":")[2]}


@frozen
class Outcome:
    code: int
    out: str
    err: str

    @property
    def answer(self) -> Any:
        assert self.code == 0, self
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        assert (self.code, self.out) == (1, ""), self
        return json.loads(self.err)

    @property
    def fault(self) -> str:
        assert (self.code, self.out) == (2, ""), self
        assert self.err.startswith("flow-manager: ")
        assert self.err.count("\n") == 1
        return self.err


Ask = Callable[..., Outcome]


@pytest.fixture
def ask(
    settings: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Ask:
    """Run ``flow-manager request`` in this process."""
    for name in [*os.environ]:
        if name.startswith("FLOW_MANAGER_") or name in ("HOST", "CONFIG_FILE"):
            monkeypatch.delenv(name)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> Outcome:
        capsys.readouterr()
        code = main(["request", *arguments])
        return Outcome(code, *capsys.readouterr())

    return run


def test_a_request_finds_address_and_made_token_by_itself(ask: Ask) -> None:
    assert ask("list_containers").answer == {"containers": [], "count": 0}


def test_the_answer_is_one_line_of_json_and_an_error_goes_to_standard_error(ask: Ask) -> None:
    made = ask("create_container", json.dumps({**MADE, "name": "fläche"}))
    assert made.code == 1  # such a name is refused
    made = ask("create_container", json.dumps({**MADE, "name": "by-hand"}))
    assert made.out.count("\n") == 1
    assert made.answer["status"] == "created"
    assert made.err == ""
    assert ask("delete_container", '{"container_id": "by-hand"}').answer["status"] == "deleted"
    error = ask("delete_container", '{"container_id": "by-hand"}').error
    assert error["error_type"] == "container_not_found"


def test_history_tells_in_words_who_did_what_to_a_container_that_is_no_more(
    ask: Ask, capsys: pytest.CaptureFixture[str]
) -> None:
    made = ask("create_container", json.dumps({**MADE, "name": "past"})).answer
    ask("delete_container", '{"container_id": "past"}')
    ask("delete_container", json.dumps({"container_id": made["container_id"]}))

    def history(*arguments: str) -> Outcome:
        capsys.readouterr()
        return Outcome(main(["history", *arguments]), *capsys.readouterr())

    told = history("--container", "past")
    key = made["container_id"]
    assert [line.partition("  ")[2] for line in told.out.splitlines()] == [
        f"{key}  container_created by owner: Container past created",
        f"{key}  status_change by owner: Status changed from created to removing",
        f"{key}  container_deleted by owner: Container past deleted",
    ]
    failed = history("--kind", "container_error", "--limit", "1", "--json").answer
    assert (failed["details"]["outcome"], failed["details"]["asked_for"]) == ("failed", key)
    assert history("--since", "4102444800").out == ""
    assert history("--container", "nobody").error["error_type"] == "container_not_found"
    assert history("--kind", "x").error["details"]["errors"][0]["field"] == "kinds.0"
    by_request = ask("get_activity_log", json.dumps({"container_id": key})).answer
    assert [entry["container_id"] for entry in by_request["entries"]] == [key] * 3


@pytest.mark.parametrize("form", ["-", "@{}/payload.json"])
def test_a_payload_can_stay_off_the_command_line(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    payload = '{"container_id": "nobody"}'
    (tmp_path / "payload.json").write_text(payload)
    monkeypatch.setattr("sys.stdin", io.StringIO(payload))
    error = ask("get_container_status", form.format(tmp_path)).error
    assert error["details"]["container_id"] == "nobody"


@pytest.mark.parametrize("payload", ["{", "NaN", "", "[" * 100_000, "@/no/such/file", "{'a': 1}"])
def test_a_payload_that_is_no_json_is_refused_before_anything_is_sent(
    ask: Ask, payload: str
) -> None:
    assert ask("list_containers", payload, "--port", "1").fault.startswith("flow-manager: PAYLOAD")


def test_a_token_of_a_file_counts_with_its_role(ask: Ask, service: Service) -> None:
    watcher = ("--token-file", str(service.root / "watcher"))
    assert ask("list_containers", *watcher).answer["count"] == 0
    error = ask("create_container", json.dumps(MADE), *watcher).error
    assert error["details"]["required_role"] == "admin"


def test_a_wrong_token_gives_2_and_is_not_told(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOW_MANAGER_TOKEN", "hunter2-hunter2-hunter2")
    told = ask("list_containers").fault
    assert "auth.token: is wrong" in told
    assert "hunter2" not in told


def test_nobody_who_listens_gives_2(ask: Ask) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        told = ask("list_containers", "--port", str(free.getsockname()[1])).fault
    assert "Connect call failed" in told


def test_one_who_listens_and_says_nothing_gives_2_in_time(ask: Ask) -> None:
    with socket.create_server(("127.0.0.1", 0)) as dumb:
        port = str(dumb.getsockname()[1])
        told = ask("list_containers", "--port", port, "--timeout", "0.2").fault
    assert "no answer within 0.2 seconds" in told


def test_no_token_gives_2_with_where_one_would_be(ask: Ask, tmp_path: Path) -> None:
    told = ask("list_containers", "--state-dir", str(tmp_path)).fault
    assert f"no service has made one in {tmp_path}/token" in told
    assert list(tmp_path.iterdir()) == []


def test_the_made_token_is_not_sent_to_another_machine(ask: Ask) -> None:
    told = ask("list_containers", "--url", "http://192.0.2.1:8000").fault
    assert "is not sent to another one" in told


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (["--url", "ftp://localhost"], "--url"),
        (["--url", "http://u:p@localhost"], "--url"),
        (["--url", "http://localhost:x"], "--url"),
        (["--url", "https://localhost", "--ca", "/no/such/file"], "--ca"),
        (["--token-file", "/no/such/file"], "--token-file"),
        (["--port", "0"], "port"),
        (["--port", "many"], "port"),
        (["--config", "/no/such/file"], "/no/such/file"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(ask: Ask, arguments: list[str], field: str) -> None:
    assert ask("list_containers", *arguments).fault.startswith(f"flow-manager: {field}: ")


def test_a_faulty_setting_of_the_service_s_own_is_none_of_the_client_s(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOW_MANAGER_RETRY_FOR", "-1")
    monkeypatch.chdir("/")
    assert ask("list_containers").answer["count"] == 0


def test_address_and_token_may_come_from_the_service_s_settings_file(
    ask: Ask, service: Service, settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = service.root / "fm.toml"
    file.write_text(f'port = {settings["PORT"]}\ntoken_file = "{service.root}/watcher"\n')
    for name in settings:
        monkeypatch.delenv(name)
    assert ask("list_containers", "--config", str(file)).answer["count"] == 0


def test_over_tls_it_trusts_the_certificates_that_it_is_told_and_no_other(
    ask: Ask, settings: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("openssl") is None:
        missing("there is no openssl")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    sign(certificate, key)
    (tmp_path / "home").mkdir()
    tls = {"FLOW_MANAGER_TLS_CERTIFICATE": str(certificate), "FLOW_MANAGER_TLS_KEY": str(key)}
    with Service(tmp_path / "home", "process", "python", "", **tls) as other:
        assert other.url.startswith("https://")
        monkeypatch.setenv("FLOW_MANAGER_TOKEN", other.token)
        told = ask("list_containers", "--url", other.url).fault
        assert "certificate verify failed" in told
        trust = ("--ca", str(certificate))
        assert ask("list_containers", "--url", other.url, *trust).answer["count"] == 0
        monkeypatch.setenv("PORT", other.url.rpartition(":")[2])
        for name, value in tls.items():
            monkeypatch.setenv(name, value)
        assert ask("list_containers", *trust).answer["count"] == 0


def sign(certificate: Path, key: Path) -> None:
    """Make a certificate for this machine that vouches for itself."""
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-keyout", str(key), "-out", str(certificate), "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    key.chmod(0o600)


def test_events_come_one_a_line_until_ctrl_c(ask: Ask, settings: dict[str, str]) -> None:
    command = [*CLI, "events", "--only", "connected,status_changed"]
    with program(command, env={**os.environ, **settings}) as watcher:
        assert watcher.stdout and watcher.stderr
        greeting = json.loads(watcher.stdout.readline())
        assert (greeting["event"], greeting["data"]["role"]) == ("connected", "admin")
        made = ask("create_container", json.dumps({**MADE, "start": True})).answer
        told = json.loads(watcher.stdout.readline())
        assert told["event"] == "status_changed"
        assert told["data"]["container_id"] == made["container_id"]
        watcher.send_signal(signal.SIGINT)
        assert watcher.wait(20) == 0
        assert watcher.stderr.read() == ""
    ask("delete_container", json.dumps({"container_id": made["container_id"]}))


def test_events_since_one_begin_with_what_was_missed(ask: Ask, settings: dict[str, str]) -> None:
    def first(*more: str) -> dict[str, Any]:
        command = [*CLI, "events", *more]
        environ = {**os.environ, **settings}
        with program(command, env=environ) as watcher:
            assert watcher.stdout
            heard = json.loads(watcher.stdout.readline())
            watcher.send_signal(signal.SIGINT)
            assert watcher.wait(20) == 0
        return dict(heard)

    position = first()["data"]
    made = ask("create_container", json.dumps(MADE)).answer
    since = f"{position['epoch']}/{position['seq']}"
    missed = first("--since", since, "--only", "activity_log")
    assert missed["data"]["seq"] == position["seq"] + 1
    assert missed["data"]["activity_type"] == "container_created"
    assert subprocess.run([*CLI, "events", "--since", "7"], check=False).returncode == 2
    ask("delete_container", json.dumps({"container_id": made["container_id"]}))


def test_events_that_cannot_come_any_more_give_2(settings: dict[str, str], tmp_path: Path) -> None:
    with Service(tmp_path, "process", "python", "") as other:
        command = [*CLI, "events", "--url", other.url]
        environ = {**os.environ, **settings, "FLOW_MANAGER_TOKEN": other.token}
        with program(command, env=environ) as watcher:
            assert watcher.stdout and watcher.stderr
            assert '"connected"' in watcher.stdout.readline()
            other.stop()
            assert watcher.wait(20) == 2
            assert "the connection ended" in watcher.stderr.read()
            assert "manager_stopping" in watcher.stdout.read()


def test_a_reader_that_goes_away_ends_the_events_quietly(
    ask: Ask, settings: dict[str, str]
) -> None:
    with program([*CLI, "events"], env={**os.environ, **settings}) as watcher:
        assert watcher.stdout and watcher.stderr
        watcher.stdout.readline()
        watcher.stdout.close()
        made = ask("create_container", json.dumps({**MADE, "start": True})).answer
        assert watcher.wait(20) == 0
        assert watcher.stderr.read() == ""
    ask("delete_container", json.dumps({"container_id": made["container_id"]}))
