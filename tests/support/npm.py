"""Programs from npm, installed once into the repository's cache folder.

No lock file is kept, since one would name a registry: `package.json` has the version.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

#: Seconds for npm to install.
INSTALL_TIMEOUT = 300.0
_STAMP = ".installed"


def needed_node(otherwise: str) -> tuple[str, str]:
    """The paths of node and npm; without them the test is skipped, but fails in CI.

    Args:
        otherwise: what is lost, for people.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        told = f"NO NODE.JS: {otherwise} (needs node and npm)"
        if os.environ.get("CI"):
            pytest.fail(told)
        pytest.skip(told)
    return node, npm


def npm_install(npm: str, wanted: Path, folder: Path) -> None:
    """Install what a `package.json` names into a folder, unless it is there.

    Raises:
        AssertionError: npm failed; with what it wrote.
        subprocess.TimeoutExpired: it did not end.
    """
    stamp = folder / _STAMP
    if stamp.exists() and stamp.read_text() == wanted.read_text():
        return
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(wanted, folder / "package.json")
    done = subprocess.run(
        [npm, "install", "--no-package-lock", "--no-audit", "--no-fund", "--omit=dev"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=INSTALL_TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, f"npm install failed:\n{done.stderr}"
    stamp.write_text(wanted.read_text())
