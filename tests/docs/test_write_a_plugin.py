"""The page that leads through a plugin shows the code of the example, word for word."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "cli_backend"
PAGE = (ROOT / "docs" / "write-a-plugin.md").read_text()

FENCE = re.compile(r"(?:<!-- from: (\S+) -->\n)?```(\w+)\n(.*?)```", re.DOTALL)
#: What a person types and sees is no code of the example.
SHOWN = "console"
PIECES = [found for found in FENCE.findall(PAGE) if found[1] != SHOWN]


@pytest.mark.parametrize(("file", "language", "piece"), PIECES)
def test_each_block_is_a_piece_of_the_example(file: str, language: str, piece: str) -> None:
    assert file, f"no file is named before:\n{piece}"
    whole = (EXAMPLE / file).read_text()
    assert f"\n{piece}" in f"\n{whole}", file


def test_the_page_shows_the_whole_backend() -> None:
    (start,) = re.findall(r"^class .*", (EXAMPLE / "flow_engine_cli/backend.py").read_text(), re.M)
    shown = "".join(piece for file, _, piece in PIECES if file == "flow_engine_cli/backend.py")
    source = (EXAMPLE / "flow_engine_cli/backend.py").read_text()
    body = source[source.index(start) :]
    missing = [line for line in body.splitlines() if line.strip() and line not in shown]
    assert missing == []


def test_the_suites_that_the_page_names_are_there() -> None:
    named = re.findall(r"`(\w+_suite)\.(\w+)`", PAGE)
    assert len(named) == 5
    for module, name in named:
        assert hasattr(importlib.import_module(f"flow_manager_core.testing.{module}"), name)
