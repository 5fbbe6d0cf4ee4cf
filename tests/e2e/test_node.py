"""A whole life, driven from JavaScript by npm's socket.io-client."""

from __future__ import annotations

import json
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.service import Service
from tests.node.node_fixture import CACHE


@pytest.mark.node
def test_a_javascript_client_drives_a_whole_life(
    service: Service, code: Path, node_client: Any
) -> None:
    told = node_client.life(
        service.url, service.token, service.image, service.command("flow.py"), code
    )
    moves = [
        (event["body"]["old_state"], event["body"]["new_state"])
        for event in told["events"]
        if event["name"] == "status_changed"
    ]
    assert moves[0] == ("created", "running")
    assert moves[-1][1] == "removing"
    assert all(earlier[1] == later[0] for earlier, later in pairwise(moves))
    assert "container_crashed" not in {event["name"] for event in told["events"]}
    assert not list(service.socket_dir.iterdir())


@pytest.mark.node
def test_the_example_of_the_guide_for_clients(
    service: Service, node_client: Any, tmp_path: Path
) -> None:
    from tests.docs.test_examples import example

    folder = service.root / "js"
    folder.mkdir(exist_ok=True)
    (folder / "flow.py").write_text(example("flows.md", "without_sdk.py"))
    script = CACHE / "example.mjs"
    script.write_text(example("clients.md", "life.mjs"))
    payload = json.dumps(
        {
            "image": service.image,
            "command": service.command("flow.py"),
            "code_path": str(folder),
            "start": True,
        }
    )
    done = subprocess.run(
        [node_client.node, script.name, service.url, service.token, payload],
        cwd=CACHE,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "Hello, Ada!\n"), done.stderr


@pytest.mark.node
def test_the_guides_client_that_misses_nothing(
    service: Service, node_client: Any, tmp_path: Path
) -> None:
    from tests.docs.test_examples import MISSED, example, missed_by

    script = CACHE / "follow.mjs"
    script.write_text(example("clients.md", "follow.mjs"))
    client = [node_client.node, str(script), service.url, service.token]
    assert missed_by(client, service, tmp_path) == MISSED
