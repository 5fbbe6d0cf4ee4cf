"""What the public names are, what the pages say in code, and what the tests really use."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

from attrs import frozen

import flow_manager_core
from flow_manager_core import contracts, findings, providers, testing

ROOT = Path(__file__).parents[2]
#: Blocks of code, and code in a line.
CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)


@frozen
class PublicName:
    """A name that others may import."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"

    @property
    def value(self) -> object:
        """What the name stands for."""
        return getattr(importlib.import_module(self.module), self.name)


def public_names() -> Iterator[PublicName]:
    """Every name of the core's front, the seams and the testing package, once."""
    for module in (flow_manager_core, providers, contracts, findings, *_testing_modules()):
        for name in _names(module):
            yield PublicName(module.__name__, name)


def _testing_modules() -> Iterator[ModuleType]:
    """Suites, and the modules that say what is public of them; the rest is their inside."""
    for found in pkgutil.iter_modules(testing.__path__, f"{testing.__name__}."):
        if found.ispkg:
            continue
        module = importlib.import_module(found.name)
        if found.name.endswith("_suite") or hasattr(module, "__all__"):
            yield module


def _names(module: ModuleType) -> list[str]:
    listed: list[str] | None = getattr(module, "__all__", None)
    return listed if listed is not None else [n for n in _defined(module) if not n.startswith("_")]


def _defined(module: ModuleType) -> Iterator[str]:
    """What the module's own text defines, imports left out."""
    for node in _parsed(Path(str(module.__file__))).body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))


def is_described(name: PublicName) -> bool:
    """Whether it has a docstring of its own; an alias or a constant, a ``#:`` comment."""
    value = name.value
    if inspect.isclass(value) or inspect.isroutine(value):
        return bool(value.__doc__)
    pattern = re.compile(rf"^#: .*\n(?:#.*\n)*{re.escape(name.name)}\b", re.MULTILINE)
    folder = Path(str(flow_manager_core.__file__)).parent
    return any(pattern.search(path.read_text()) for path in folder.rglob("*.py"))


def words_in_code(*pages: Path) -> set[str]:
    """Every identifier that stands in code on the pages."""
    found: set[str] = set()
    for page in pages:
        for piece in CODE.findall(page.read_text()):
            found.update(re.findall(r"\w+", piece))
    return found


@cache
def pages() -> tuple[Path, ...]:
    """The documentation: its folder, and the plugins' front pages."""
    return (*sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("plugins/*/README.md")))


@cache
def test_files() -> tuple[Path, ...]:
    """Every file of tests, but those that are about documentation."""
    folders = [ROOT / "tests", *ROOT.glob("plugins/*/tests"), *ROOT.glob("examples/*/tests")]
    found = {path for folder in folders for path in folder.rglob("*.py")}
    return tuple(sorted(found - set(Path(__file__).parent.glob("*public*.py"))))


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def names_used_by_tests() -> frozenset[str]:
    """Every name that a test's code reads; an import by itself is no use."""
    used: set[str] = set()
    for path in test_files():
        for node in ast.walk(_parsed(path)):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                used.add(node.id)
            elif isinstance(node, ast.Attribute):
                used.add(node.attr)
    return frozenset(used)


@cache
def functions_marked_by_tests() -> frozenset[str]:
    """Every function of the tests' and examples' code that is marked with `hookimpl`."""
    found: set[str] = set()
    for path in (*test_files(), *ROOT.glob("examples/**/*.py")):
        for node in ast.walk(_parsed(path)):
            if isinstance(node, ast.FunctionDef) and any(map(_is_mark, node.decorator_list)):
                found.add(node.name)
    return frozenset(found)


def _is_mark(decorator: ast.expr) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return getattr(called, "attr", getattr(called, "id", "")) == "hookimpl"
