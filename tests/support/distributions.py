"""Distributions that are really installed, in a folder on the path, for one test."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a distribution: its name, and the source of the module that is its plugin.

    Both are found as after ``pip install``: by a ``.dist-info`` folder and by the import system.
    Returns the folder.
    """
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def make(name: str, source: str, *, entry: str = "", entry_points: bytes = b"") -> Path:
        module = name.replace("-", "_")
        (site / f"{module}.py").write_text(source)
        info = site / f"{module}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        told = f"[flow_manager]\n{entry or module} = {module}\n"
        (info / "entry_points.txt").write_bytes(entry_points or told.encode())
        monkeypatch.delitem(sys.modules, module, raising=False)
        return site

    return make
