"""The distributions of the repository, as their pyproject.toml and their source tell."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from attrs import define
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]

#: Import names that differ from the names of the distributions that bring them.
BROUGHT_BY = {"attr": "attrs", "engineio": "python-engineio", "socketio": "python-socketio"}


@define(slots=False)
class Dist:
    """One distribution of the repository."""

    folder: Path

    @cached_property
    def pyproject(self) -> dict[str, Any]:
        """What its pyproject.toml says."""
        return tomllib.loads((self.folder / "pyproject.toml").read_text())

    @property
    def name(self) -> str:
        """Its name on an index."""
        return str(self.pyproject["project"]["name"])

    @property
    def version(self) -> str:
        """Its version."""
        return str(self.pyproject["project"]["version"])

    @property
    def package(self) -> Path:
        """The folder of its import package."""
        (name,) = self.pyproject["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
        return self.folder / name

    @property
    def requirements(self) -> list[Requirement]:
        """What it is never installed without."""
        return [Requirement(text) for text in self.pyproject["project"].get("dependencies", ())]

    @property
    def optional(self) -> list[Requirement]:
        """What its extras bring."""
        extras = self.pyproject["project"].get("optional-dependencies", {})
        return [Requirement(text) for texts in extras.values() for text in texts]

    @property
    def is_plugin(self) -> bool:
        """Whether it is one of the bundled plugins."""
        return self.folder.parent.name == "plugins"

    def imports(self) -> set[str]:
        """Name the distributions from outside that its package imports.

        A folder `testing` is for those who have pytest.
        """
        found: set[str] = set()
        for path in self.package.rglob("*.py"):
            if "testing" not in path.parts:
                found.update(_imports(ast.parse(path.read_text())))
        found -= {*sys.stdlib_module_names, self.package.name}
        return {canonicalize_name(BROUGHT_BY.get(name, name)) for name in found}


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]


CORE = Dist(ROOT)
SDK = Dist(ROOT / "sdk")
PLUGINS = [Dist(path.parent) for path in sorted(ROOT.glob("plugins/*/pyproject.toml"))]
DISTS = [CORE, *PLUGINS, SDK]
