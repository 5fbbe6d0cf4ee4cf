"""The page on embedding shows the examples as they stand; `tests/embedding` runs them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.test_examples import example

EXAMPLES = Path(__file__).parents[2] / "examples" / "embedding"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_page_shows_the_example_that_is_tested(path: Path) -> None:
    assert example("embedding.md", path.name) == path.read_text()


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_every_example_is_in_the_table_and_is_run_by_a_test(path: Path) -> None:
    assert f"| `{path.name}` |" in (EXAMPLES / "README.md").read_text()
    tests = Path(__file__).parents[1] / "embedding" / "test_host_apps.py"
    assert path.stem in tests.read_text()
