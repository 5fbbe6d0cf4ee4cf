"""A wheel holds its package, its types and its entry points, and nothing else."""

from __future__ import annotations

import configparser
import email
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.packaging.dists import DISTS, Dist

pytestmark = [
    pytest.mark.wheels,
    pytest.mark.parametrize("dist", DISTS, ids=lambda dist: dist.name),
]


@pytest.fixture
def wheel(dist: Dist, wheel_files: dict[str, Path]) -> zipfile.ZipFile:
    with zipfile.ZipFile(wheel_files[dist.name]) as opened:
        yield opened


def read(wheel: zipfile.ZipFile, name: str) -> str:
    (path,) = [found for found in wheel.namelist() if found.endswith(f".dist-info/{name}")]
    return wheel.read(path).decode()


def test_it_holds_every_file_of_its_package_and_no_other(
    dist: Dist, wheel: zipfile.ZipFile
) -> None:
    found = {name for name in wheel.namelist() if ".dist-info/" not in name}
    files = (path for path in dist.package.rglob("*") if path.is_file())
    there = {str(path.relative_to(dist.folder)) for path in files if path.suffix != ".pyc"}
    assert found == there
    assert f"{dist.package.name}/py.typed" in found


def test_its_metadata_is_what_the_repository_says(dist: Dist, wheel: zipfile.ZipFile) -> None:
    metadata = email.message_from_string(read(wheel, "METADATA"))
    assert (metadata["Name"], metadata["Version"]) == (dist.name, dist.version)
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"]
    told = {Requirement(text) for text in metadata.get_all("Requires-Dist", [])}
    assert {each for each in told if each.marker is None} == set(dist.requirements)
    assert metadata.get_payload().strip()


def test_its_entry_points_are_there(dist: Dist, wheel: zipfile.ZipFile) -> None:
    expected = dist.pyproject["project"].get("entry-points", {})
    if not expected:
        assert not [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
        return
    parser = configparser.ConfigParser()
    parser.read_string(read(wheel, "entry_points.txt"))
    assert dict(parser["flow_manager"]) == expected["flow_manager"]
