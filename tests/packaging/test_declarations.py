"""What each distribution says of itself is true."""

from __future__ import annotations

import ast

import pytest
from packaging.utils import canonicalize_name

from tests.packaging.dists import CORE, DISTS, PLUGINS, SDK, Dist

each = pytest.mark.parametrize("dist", DISTS, ids=lambda dist: dist.name)
each_plugin = pytest.mark.parametrize("dist", PLUGINS, ids=lambda dist: dist.name)

#: Imported only where it is installed, for speed; an extra brings it.
FASTER = {"uvloop", "httptools"}

#: Dependencies that another dependency imports, by their names.
USED_BY_NAME: dict[str, set[str]] = {"flow-manager-socketio": {"websockets"}}


@each
def test_what_it_imports_is_among_its_dependencies(dist: Dist) -> None:
    declared = {canonicalize_name(requirement.name) for requirement in dist.requirements}
    assert dist.imports() - declared - FASTER == set()


@each
def test_what_it_depends_on_is_imported(dist: Dist) -> None:
    declared = {canonicalize_name(requirement.name) for requirement in dist.requirements}
    assert declared - dist.imports() - USED_BY_NAME.get(dist.name, set()) == set()


@each
def test_it_is_typed_and_described(dist: Dist) -> None:
    assert (dist.package / "py.typed").is_file()
    assert dist.pyproject["project"]["license"] == "Apache-2.0"
    assert dist.name in (dist.folder / dist.pyproject["project"]["readme"]).read_text()


@each
def test_versions_agree(dist: Dist) -> None:
    assert dist.version == CORE.version
    ours = [r for r in dist.requirements if r.name.startswith("flow-manager-")]
    assert all(requirement.specifier.contains(CORE.version) for requirement in ours)


def test_every_plugin_is_an_extra_of_the_core() -> None:
    offered = {requirement.name for requirement in CORE.optional}
    assert {dist.name for dist in [*PLUGINS, SDK]} <= offered


@each_plugin
def test_a_plugin_is_found_by_its_entry_point(dist: Dist) -> None:
    entry_points = dist.pyproject["project"]["entry-points"]["flow_manager"]
    for target in entry_points.values():
        package, _, module = target.partition(".")
        assert package == dist.package.name
        assert (dist.package / f"{module}.py").is_file()


def test_the_sdk_needs_nothing_and_is_read_by_old_pythons() -> None:
    assert SDK.requirements == []
    assert SDK.imports() == set()
    for path in SDK.package.rglob("*.py"):
        ast.parse(path.read_text(), feature_version=(3, 8))
