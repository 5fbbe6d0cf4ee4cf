"""The page on metrics and the dashboard name what a scrape has, all of it and nothing else."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.core.test_manager import house
from tests.docs.public_names import ROOT

pytestmark = pytest.mark.anyio

PREFIX = "flow_manager_"
#: Ours that the dashboard leaves out.
NOT_SHOWN: set[str] = set()
#: What each kind of family is called in an expression.
ENDINGS = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
DASHBOARD = json.loads((ROOT / "docs" / "grafana-dashboard.json").read_text())
NAME = re.compile(r"\b(?:flow_manager|process)_[a-z_]+")
ROW = re.compile(r"^\| `(flow_manager_[a-z_]+)` \| (.*?) \|", re.MULTILINE)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


async def scraped() -> dict[str, tuple[str, str]]:
    """Each family of a scrape: its type and its help; those that say when another began apart."""
    async with house() as h:
        text = h.manager.metrics()[0].decode()
    families = {f.name: (f.type, f.documentation) for f in text_string_to_metric_families(text)}
    return {name: told for name, told in families.items() if not name.endswith("_created")}


def panels() -> list[dict[str, Any]]:
    found = list(DASHBOARD["panels"])
    return [*found, *(inner for panel in found for inner in panel.get("panels", ()))]


def expressions() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel.get("targets", ())]


def base(name: str) -> str:
    return re.sub("_(total|bucket|sum|count)$", "", name)


async def test_every_metric_that_the_dashboard_asks_for_is_in_a_scrape() -> None:
    known = {
        name + ending for name, (kind, _) in (await scraped()).items() for ending in ENDINGS[kind]
    }
    asked = {name for expression in expressions() for name in NAME.findall(expression)}
    assert len(asked) > 15
    assert asked <= known


async def test_every_metric_of_ours_is_on_the_dashboard_or_left_out_on_purpose() -> None:
    ours = {name for name in await scraped() if name.startswith(PREFIX)}
    shown = {base(name) for expression in expressions() for name in NAME.findall(expression)}
    assert ours - shown == NOT_SHOWN


def test_panels_of_the_dashboard_have_ids_and_places_of_their_own() -> None:
    ids = [panel["id"] for panel in panels()]
    assert len(set(ids)) == len(ids) > 20
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels())
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


def test_the_dashboard_is_tied_to_no_data_source_and_no_place() -> None:
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["query"] == "prometheus"
    for panel in panels():
        for target in panel.get("targets", ()):
            assert target["datasource"]["uid"] == "${datasource}"
            assert target["expr"].count("{") == target["expr"].count('job="$job"')


async def test_the_table_of_the_page_names_each_metric_with_its_labels() -> None:
    page = (ROOT / "docs" / "watching.md").read_text()
    families = {n: kind for n, (kind, _) in (await scraped()).items() if n.startswith(PREFIX)}
    written = {name + ("_total" if kind == "counter" else "") for name, kind in families.items()}
    assert {name for name, _ in ROW.findall(page)} == written


async def test_names_follow_the_conventions_of_prometheus() -> None:
    for name, (kind, told) in (await scraped()).items():
        assert told, name
        assert re.fullmatch("[a-z][a-z0-9_]*", name)
        if kind == "histogram":
            assert name.endswith("_seconds")
        assert not re.search("_(ms|millis|milliseconds|minutes|kb|mb|percent)(_|$)", name)
