"""What is committed says nothing of the machine or the registries that it was made with."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.packaging.dists import ROOT

#: Written so that this file does not find itself.
FORBIDDEN = {
    "a registry's host": r"https?://[\w.-]*(?:py[p]i|python[h]osted|npm[j]s|debia[n]\.org)",
    "a machine's path": r"(?<![\w.])/(?:work|farm)/|/(?:root|home/\w+)/\.|/tmp/(?:venv|dk)\b",
    "a lock file's link": r"(?:resolved|integrity)\"?\s*[:=]\s*\"?(?:https?|sha\d)",
}


def committed() -> list[Path]:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout")
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    paths = [ROOT / name for name in listing.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_names(what: str) -> None:
    pattern = re.compile(FORBIDDEN[what])
    named = []
    for path in committed():
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1):
            if pattern.search(line):
                named.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert named == []


def test_constraints_are_plain_versions() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert pins
    assert all(pin.url is None and str(pin.specifier).startswith("==") for pin in pins)


def test_the_commands_of_the_readme_are_there() -> None:
    readme = (ROOT / "README.md").read_text()
    assert "python3 run.py demo" in readme
    assert "python3 run.py test" in readme
    assert (ROOT / "run.py").is_file()
