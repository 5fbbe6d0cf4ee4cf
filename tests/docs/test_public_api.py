"""A hook, a public name or a setting without documentation or without a test fails here."""

from __future__ import annotations

import inspect
from pathlib import Path

import attrs
import pytest

from flow_manager_core import PluginHost, hookspecs
from flow_manager_core.hookspecs import PROJECT
from flow_manager_core.plugin_loading import HOOKS
from tests.docs.public_names import (
    ROOT,
    PublicName,
    functions_marked_by_tests,
    is_described,
    names_used_by_tests,
    pages,
    public_names,
    words_in_code,
)
from tests.packaging.dists import PLUGINS

each_name = pytest.mark.parametrize("name", list(public_names()), ids=str)
#: What pluggy sees.
SPECIFIED = [
    name
    for name, found in vars(hookspecs).items()
    if inspect.isfunction(found) and hasattr(found, f"{PROJECT}_spec")
]
each_hook = pytest.mark.parametrize("hook", SPECIFIED)
each_plugin = pytest.mark.parametrize("name", [dist.name for dist in PLUGINS])


@each_name
def test_a_public_name_says_what_it_is(name: PublicName) -> None:
    assert is_described(name)


@each_name
def test_a_public_name_is_on_a_page(name: PublicName) -> None:
    assert name.name in words_in_code(*pages())


@each_name
def test_a_public_name_is_used_by_a_test(name: PublicName) -> None:
    assert name.name in names_used_by_tests()


@each_hook
def test_a_hook_says_what_it_is_for_with_an_example(hook: str) -> None:
    told = inspect.getdoc(getattr(hookspecs, hook)) or ""
    assert "Example: ``return [" in told
    assert f"{HOOKS[hook].__name__}(" in told


@each_hook
def test_a_hook_is_on_the_page_on_plugins(hook: str) -> None:
    assert hook in words_in_code(ROOT / "docs" / "plugins.md")


@each_hook
def test_a_hook_is_implemented_by_a_test(hook: str) -> None:
    assert hook in functions_marked_by_tests()


def test_every_hook_that_is_specified_is_called() -> None:
    assert list(HOOKS) == SPECIFIED


@each_plugin
def test_a_plugin_says_what_can_be_set_and_in_which_section(name: str) -> None:
    folder = next(dist.folder for dist in PLUGINS if dist.name == name)
    page: Path = folder / "README.md"
    infos = [info for info in PluginHost().infos if info.distribution == name]
    assert [info.reason for info in infos] == [""]
    for provider in infos[0].provides:
        settings = {attribute.name for attribute in attrs.fields(provider.settings_class)}
        assert settings - words_in_code(page) == set()
        assert not settings or f"`[{provider.name}]`" in page.read_text()


COMMANDS = [
    "serve",
    "plugins",
    "config",
    "doctor",
    "demo",
    "request",
    "events",
    "backup",
    "restore",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_on_the_page_on_operating(command: str) -> None:
    assert f"flow-manager {command}" in (ROOT / "docs" / "operating.md").read_text()
