"""The page on troubleshooting knows every check, every symptom of the guide, and the JSON."""

from __future__ import annotations

import json
import re

import pytest

from flow_manager_core import PluginHost, errors
from flow_manager_core.doctor import known_checks
from tests.docs.public_names import ROOT
from tests.doctor.machine import machine

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
NAMES = {check.name for _, check in known_checks(PluginHost())}
#: The headings of the guide's "Troubleshooting Common Issues".
SYMPTOMS = [
    'Container Creation Fails with "Image Not Found"',
    'Container Creation Fails with "Port Already Allocated"',
    "Container Start Fails",
    "Container Update Fails",
    "Socket Connection Fails",
    "Socket Communication Timeouts",
]
TYPES = {
    kind.error_type
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.FlowManagerError)
}


def rows(heading: str) -> list[list[str]]:
    """The cells of a section's table, without its head."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_check_is_on_the_page_and_the_page_knows_no_other() -> None:
    assert {row[0].strip("`") for row in rows("Checks")} == NAMES
    assert all(all(row) for row in rows("Checks"))


@pytest.mark.parametrize("symptom", SYMPTOMS)
def test_a_symptom_of_the_guide_leads_to_a_check(symptom: str) -> None:
    (row,) = [row for row in rows("Symptoms") if row[0].startswith(symptom)]
    assert set(re.findall(r"`([a-z][\w-]*)`", row[2])) & NAMES


def test_every_check_is_reached_from_a_symptom() -> None:
    named = {name for row in rows("Symptoms") for name in re.findall(r"`([a-z][\w-]*)`", row[2])}
    assert named - NAMES == set()
    assert named == NAMES


def test_every_kind_of_error_leads_to_a_check() -> None:
    named = {name for row in rows("Symptoms") for name in re.findall(r"`(\w+)`", row[1])}
    assert named >= TYPES


def test_the_json_on_the_page_has_the_shape_of_the_real_one() -> None:
    (example,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    shown = json.loads(example)
    with machine() as healthy:
        real = healthy.examined("--only", "clock").body
    assert shown.keys() == real.keys()
    assert shown["checks"][0].keys() == real["checks"][0].keys()
    assert shown["checks"][0]["findings"][0].keys() == real["checks"][0]["findings"][0].keys()
