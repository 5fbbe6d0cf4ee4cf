"""The suite as it is run: modules in processes of their own, told apart when one is no good."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from benchmarks import suite
from benchmarks.rows import Row
from benchmarks.suite import Module, Unmeasured, measured

ROOT = Path(__file__).parents[2]
#: Writes a row, starts a process that would outlive it, names it, and does not end.
HANGING = """
import subprocess, sys, time
from benchmarks.rows import Row

def rows(rounds, quick):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield Row(name=str(child.pid), beside="", unit="", ours=[1.0])
    time.sleep(600)
"""
FAILING = """
from benchmarks.rows import Row

def rows(rounds, quick):
    yield Row(name="first", beside="", unit="", ours=[1.0] * rounds)
    raise RuntimeError("no more of it")
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose modules belong to the package of benchmarks, in the children, too."""
    import benchmarks

    folder = tmp_path / "more"
    folder.mkdir()
    monkeypatch.setattr(benchmarks, "__path__", [*benchmarks.__path__, str(folder)])
    (tmp_path / "sitecustomize.py").write_text(
        f"import benchmarks\nbenchmarks.__path__.append({str(folder)!r})\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    return folder


def collected(module: Module) -> tuple[list[Row], str]:
    found: list[Row] = []
    with pytest.raises(Unmeasured) as why:
        found.extend(measured(module, 2, {}, quick=True))
    return found, str(why.value)


def test_a_missing_module_is_named() -> None:
    assert collected(Module("nonsense")) == ([], "the module benchmarks/nonsense.py is missing")


def test_what_a_module_measured_before_it_failed_is_kept(package: Path) -> None:
    (package / "failing.py").write_text(FAILING)
    found, why = collected(Module("failing"))
    assert [row.ours for row in found] == [[1.0, 1.0]]
    assert "benchmarks.failing failed" in why
    assert "no more of it" in why


def test_a_module_that_does_not_end_is_ended_with_all_that_it_started(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (package / "hanging.py").write_text(HANGING)
    monkeypatch.setattr(suite, "UNWIND", 5.0)
    (row,), why = collected(Module("hanging", seconds=6))
    assert "took over 6 s" in why
    end = time.monotonic() + 20
    while _runs(int(row.name)):
        assert time.monotonic() < end, "it runs on"
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_the_modules_that_need_no_engine_give_their_rows(tmp_path: Path) -> None:
    told = tmp_path / "rows.json"
    arguments = ["--quick", f"--json={told}", "--only", "growth"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        env={key: value for key, value in os.environ.items() if key != "DOCKER_HOST"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(told.read_text())["rows"]
    names = [row["name"] for row in rows]
    assert "get_container_status, 20 flows" in names
    assert all(row["name"] in done.stdout for row in rows)
    assert all(row["median"] > 0 and row["limits"] for row in rows)
