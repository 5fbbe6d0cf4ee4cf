"""Runs npm's pyright on this environment; `package.json` has its version. It fetches nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from attrs import frozen

from tests.support.npm import needed_node, npm_install

HERE = Path(__file__).parent
CACHE = HERE.parent.parent / ".cache" / "pyright"
#: Seconds for one check.
TIMEOUT = 300.0


@frozen
class Pyright:
    """Pyright under one Node.js.

    Args:
        node: the path of Node.js.
    """

    node: str

    def report(self, *arguments: str, folder: Path) -> dict[str, Any]:
        """Check, and return the report.

        Args:
            folder: where it looks for its configuration, and for what is not installed.

        Raises:
            AssertionError: there is no report; with what it wrote.
            subprocess.TimeoutExpired: it did not end.
        """
        # For --verifytypes, pyright asks the first python on the path alone.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        script = CACHE / "node_modules" / "pyright" / "index.js"
        done = subprocess.run(
            [self.node, script, "--pythonpath", sys.executable, "--outputjson", *arguments],
            cwd=folder,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        assert done.stdout.startswith("{"), f"{done.stdout}\n{done.stderr}"
        report: dict[str, Any] = json.loads(done.stdout)
        return report


def install_pyright(npm: str) -> None:
    """Have npm install it, unless it is there."""
    npm_install(npm, HERE / "package.json", CACHE)


def needed_pyright() -> Pyright:
    """Pyright, installed; the test is skipped without Node.js, but never in CI."""
    node, npm = needed_node("the types are NOT checked by pyright")
    install_pyright(npm)
    return Pyright(node)
