"""``flow-manager backup`` and ``restore`` against a real service, as the pages show them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.service import Service

CLI = (sys.executable, "-m", "flow_manager_cli.main")
PAGE = Path(__file__).parents[2] / "docs" / "backup.md"
COUNTS = (
    "import os; n = int(open('runs').read()) + 1 if os.path.exists('runs') else 1;"
    " open('runs', 'w').write(str(n)); print(n)"
)


@pytest.fixture(scope="module")
def service(tmp_path_factory: Any) -> Iterator[Service]:
    root = tmp_path_factory.mktemp("command")
    with Service(root, "process", "python", "", FLOW_MANAGER_TOKEN="") as running:
        yield running


def run(service: Service, *arguments: str) -> subprocess.CompletedProcess[str]:
    place = ("--state-dir", str(service._home / "state"), "--port", service.url.rpartition(":")[2])
    return subprocess.run(
        [*CLI, *arguments, *place], capture_output=True, text=True, timeout=60, check=False
    )


def answer(service: Service, *arguments: str) -> Any:
    done = run(service, *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def ended(service: Service, name: str) -> list[str]:
    """The output of a container's program, once it has ended."""
    status = {"state": "running"}
    while status["state"] == "running":
        status = answer(service, "request", "get_container_status", f'{{"container_id": "{name}"}}')
    logs = answer(service, "request", "get_container_logs", f'{{"container_id": "{name}"}}')
    return [line["line"] for line in logs["lines"]]


def test_the_pages_commands_save_and_bring_back_a_container(service: Service) -> None:
    made = {"image": "python", "name": "my-flow", "command": ["-c", COUNTS], "start": True}
    answer(service, "request", "create_container", json.dumps(made))
    assert ended(service, "my-flow") == ["1"]
    commands = re.findall(r"^flow-manager (\S.*?)(?: +#.*)?$", PAGE.read_text(), re.MULTILINE)
    assert [command.split()[0] for command in commands] == ["backup", "backup", "restore"]
    saved, checked, restored = (command.split() for command in commands)
    body = answer(service, *saved)
    assert body["status"] == "backed_up"
    assert answer(service, *checked)["status"] == "whole"
    answer(service, "request", "delete_container", '{"container_id": "my-flow"}')
    assert answer(service, *restored)["name"] == "my-flow"
    assert ended(service, "my-flow")[-1] == "2"


def test_progress_and_errors_go_to_standard_error(service: Service) -> None:
    made = {"image": "python", "name": "other", "command": ["-c", COUNTS]}
    answer(service, "request", "create_container", json.dumps(made))
    done = run(service, "backup", "other", "other.tar")
    assert "save:filesystem: 0.0 MB" in done.stderr
    assert done.stdout.count("\n") == 1
    archive = service._home / "state" / "backups" / "other.tar"
    archive.write_bytes(archive.read_bytes()[:-1])
    done = run(service, "restore", "other.tar", "--name", "third")
    assert (done.returncode, done.stdout) == (1, "")
    error = json.loads(done.stderr.splitlines()[-1])
    assert error["error_type"] == "validation_error"
    assert "cut off" in error["message"]


@pytest.mark.parametrize("arguments", [(), ("a",), ("a", "b", "--verify", "c")])
def test_a_command_that_says_too_little_or_too_much_is_refused(
    service: Service, arguments: tuple[str, ...]
) -> None:
    done = run(service, "backup", *arguments)
    assert done.returncode == 2
    assert "--verify PATH" in done.stderr
