"""The documentation's examples are run as they stand."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from flow_manager_core import PluginHost, RecoveryProvider, Settings
from flow_manager_core.models import GiveUp, RecoveryHistory, Restart, RestartPolicy
from flow_manager_core.operations.table import OPERATIONS
from tests.e2e.service import Service

DOCS = Path(__file__).parents[2] / "docs"
#: The events of a container that is made and deleted.
MISSED = ["activity_log", "status_changed", "activity_log", "activity_log"]
BLOCK = re.compile(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)


def example(page: str, name: str) -> str:
    found = dict(BLOCK.findall((DOCS / page).read_text()))
    return found[name]


@pytest.fixture
def short() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="fm-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def service(tmp_path_factory: Any) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("docs"), "process", "python", "") as running:
        yield running


@pytest.fixture(scope="module")
def tcp_service(tmp_path_factory: Any) -> Iterator[Service]:
    root = tmp_path_factory.mktemp("tcp")
    environ = {"FLOW_MANAGER_TRANSPORT": "tcp", "FLOW_MANAGER_TCP_PORT": "0"}
    with Service(root, "process", "python", "", **environ) as running:
        yield running


def run(*command: str, **environ: str) -> str:
    found = subprocess.run(
        command,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return found.stdout


def test_getting_started(service: Service) -> None:
    code = service.root / "hello"
    code.mkdir()
    (code / "flow.py").write_text(example("getting-started.md", "flow.py"))
    client = service.root / "client.py"
    client.write_text(example("getting-started.md", "client.py"))
    told = run(
        *[sys.executable, str(client), service.url, str(code)], FLOW_MANAGER_TOKEN=service.token
    )
    assert told.splitlines() == ["running", "Hello, Ada!"]


def test_a_client_that_misses_nothing(service: Service, tmp_path: Path) -> None:
    script = tmp_path / "follow.py"
    script.write_text(example("clients.md", "follow.py"))
    assert missed_by([sys.executable, str(script), service.url], service, tmp_path) == MISSED


def missed_by(client: list[str], service: Service, folder: Path) -> list[str]:
    """What one of the page's clients tells of a life that it was not connected for."""
    place = str(folder / "position.json")
    environ = {"FLOW_MANAGER_TOKEN": service.token}
    assert run(*client, place, "0", **environ) == ""
    ask = [sys.executable, "-m", "flow_manager_cli.main", "request", "--url", service.url]
    made = json.loads(
        run(*ask, "create_container", json.dumps({"image": service.image}), **environ)
    )
    run(*ask, "delete_container", json.dumps({"container_id": made["container_id"]}), **environ)
    return run(*client, place, str(len(MISSED)), **environ).splitlines()


@pytest.mark.parametrize("name", ["with_sdk.py", "without_sdk.py"])
def test_both_kinds_of_flow(service: Service, name: str) -> None:
    assert greeting_of(service, name) == "Hello, Ada!"


@pytest.mark.parametrize("name", ["with_sdk.py", "over_tcp.py"])
def test_both_kinds_of_flow_over_tcp(tcp_service: Service, name: str) -> None:
    assert greeting_of(tcp_service, name) == "Hello, Ada!"


def greeting_of(service: Service, name: str) -> str:
    """Run one of the page's flows, and the client of another page against it."""
    code = service.root / name.removesuffix(".py")
    code.mkdir()
    (code / "flow.py").write_text(example("flows.md", name))
    client = service.root / "client.py"
    client.write_text(example("getting-started.md", "client.py"))
    told = run(
        *[sys.executable, str(client), service.url, str(code)], FLOW_MANAGER_TOKEN=service.token
    )
    return told.splitlines()[-1]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_embedding(short: Path, backend: str) -> None:
    script = short / "embedded.py"
    script.write_text(example("embedding.md", "embedded.py"))
    assert run(sys.executable, str(script), str(short), backend).splitlines() == [
        "6",
        "container_not_found",
    ]


def test_a_plugin_of_your_own(tmp_path: Path) -> None:
    file = tmp_path / "patient.py"
    file.write_text(example("plugins.md", "patient.py"))
    spec = importlib.util.spec_from_file_location("patient", file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    provider = PluginHost(plugins=[module]).choose(RecoveryProvider, "patient")
    policy = module.Patient(provider.settings_class())
    verdicts = [
        policy.decide(RecoveryHistory((1.0,) * n, (1.0,) * n), RestartPolicy()) for n in (1, 4)
    ]
    assert verdicts == [Restart(1, 10.0), GiveUp(3, "patience is at its end")]


def test_every_setting_is_documented() -> None:
    page = (DOCS / "operating.md").read_text()
    documented = set(re.findall(r"^\| `(\w+)`", page.split("<!-- settings -->")[1], re.MULTILINE))
    assert documented == {attribute.name for attribute in attrs.fields(Settings)}


def test_every_request_and_its_response_is_documented() -> None:
    page = (DOCS / "clients.md").read_text()
    for operation in OPERATIONS.values():
        assert f"| `{operation.name}` | `{operation.event}` |" in page


def test_links_between_pages_lead_somewhere() -> None:
    root = DOCS.parent
    for page in [root / "README.md", *DOCS.glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_module_is_on_the_architecture_page() -> None:
    page = (DOCS / "architecture.md").read_text()
    core = DOCS.parent / "flow_manager_core"
    for module in core.glob("*.py"):
        if module.stem != "__init__":
            assert f"`{module.stem}`" in page, module.stem
