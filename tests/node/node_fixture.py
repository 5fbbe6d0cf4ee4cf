"""A pytest plugin: runs the JavaScript client under the installed Node.js.

`npm install` is run once, into the repository's cache folder.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from tests.support.npm import needed_node, npm_install

HERE = Path(__file__).parent
CACHE = HERE.parent.parent / ".cache" / "node"
#: Seconds for one script to end.
SCRIPT_TIMEOUT = 180.0

_SCRIPTS = ("life.mjs",)


@frozen
class NodeClient:
    """Runs scripts of this folder where npm has installed what they import.

    Args:
        node: the path of Node.js.
    """

    node: str

    def run(self, script: str, environment: Mapping[str, str]) -> dict[str, Any]:
        """Run a script to its end; return the JSON object that it prints.

        Args:
            script: a file of this folder.
            environment: variables besides the process's own.

        Raises:
            AssertionError: it ended with another code than 0; with what it wrote.
            subprocess.TimeoutExpired: it did not end.
        """
        done = subprocess.run(
            [self.node, script],
            cwd=CACHE,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=SCRIPT_TIMEOUT,
            check=False,
        )
        assert done.returncode == 0, f"{script} ended with {done.returncode}:\n{done.stderr}"
        printed: dict[str, Any] = json.loads(done.stdout)
        return printed

    def life(
        self, url: str, token: str, image: str, command: list[str], code: Path, **more: str
    ) -> dict[str, Any]:
        """Drive the whole life of one container; ``more`` are further variables of the script.

        Returns:
            ``answers`` by request, ``events`` in order as ``{name, body}``, ``transport``.
        """
        environment = {"URL": url, "TOKEN": token, "IMAGE": image, "CODE_PATH": str(code)}
        return self.run("life.mjs", {**environment, "COMMAND": json.dumps(command), **more})


@pytest.fixture(scope="session")
def node_client() -> NodeClient:
    """The JavaScript client, installed; the test is skipped without Node.js, but never in CI."""
    node, npm = needed_node("the JavaScript client is NOT tested")
    install(npm)
    return NodeClient(node)


def install(npm: str) -> None:
    """Have npm install the client, unless it is there; bring this folder's scripts up to date."""
    npm_install(npm, HERE / "package.json", CACHE)
    for name in _SCRIPTS:
        shutil.copyfile(HERE / name, CACHE / name)
