"""A plugin cannot take the house down: whatever it does is named, and hurts nobody else."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flow_manager_core import PluginHost, RecoveryProvider, hookimpl
from flow_manager_core.errors import ConfigurationError
from flow_manager_core.plugin_loading import HOOKS, load_plugin
from flow_manager_core.plugins import PluginInfo, PluginStatus
from flow_manager_core.providers import BackendProvider, TransportProvider

HANGING = "flow-manager-plugin-"
#: A plugin as its author would write it, with a hole for what goes wrong.
SOURCE = """
import flow_manager_core as fm
{at_import}
@fm.hookimpl
def flow_manager_recovery_policies():
    {in_hook}
    return [fm.RecoveryProvider(name="acme", factory=lambda context: None)]
"""


def source(at_import: str = "", in_hook: str = "pass") -> str:
    return SOURCE.format(at_import=at_import, in_hook=in_hook)


def info(host: PluginHost, name: str) -> PluginInfo:
    return next(info for info in host.infos if info.name == name)


def plugin(hook: Any, name: str = "flow_manager_recovery_policies", **mark: Any) -> Any:
    module = types.ModuleType("mine")
    setattr(module, name, hookimpl(hook, **mark))
    return module


def reason(hook: Any, **mark: Any) -> str:
    """What is said of a plugin with this hook, while the core's own providers stay."""
    host = PluginHost(plugins=[plugin(hook, **mark)], installed=False, patience=0.2)
    assert host.choose(RecoveryProvider, "none").name == "none"
    found = info(host, "mine")
    assert (found.status is PluginStatus.BROKEN) == bool(found.reason)
    assert found.reason.isprintable()
    return found.reason


def policy(**changes: Any) -> RecoveryProvider:
    return RecoveryProvider(**{"name": "x", "factory": lambda _context: None, **changes})


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What a plugin waits for that hangs; opened at the end, so that its thread ends."""
    event = threading.Event()
    yield event
    event.set()
    for thread in threading.enumerate():
        if thread.name.startswith(HANGING):
            thread.join(10)
            assert not thread.is_alive()


@pytest.mark.parametrize(
    ("at_import", "told"),
    [
        ("import nothing_of_this_name", "ModuleNotFoundError: No module named 'nothing_of"),
        ("def broken(:", "SyntaxError"),
        ("raise SystemExit(3)", "its import failed: SystemExit: 3"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("import asyncio; raise asyncio.CancelledError('x')", "CancelledError: x"),
        ("class Odd(BaseException): pass\nraise Odd('two\\nlines \\x1b[31m')", "Odd: two lines"),
        ("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)", "ValueError: signal only"),
    ],
)
def test_a_distribution_that_cannot_be_imported_is_named(
    install: Any, at_import: str, told: str
) -> None:
    install("acme-policies", source(at_import))
    install("other-policies", source().replace('"acme"', '"other"'))
    host = PluginHost()
    broken = info(host, "acme_policies")
    assert (broken.status, broken.distribution) == (PluginStatus.BROKEN, "acme-policies")
    assert broken.version == "1.2"
    assert told in broken.reason
    assert broken.reason.isprintable()
    assert host.choose(RecoveryProvider, "other").name == "other"
    assert host.choose(RecoveryProvider, "backoff").name == "backoff"
    assert host.broken == (broken,)


def test_a_chosen_provider_whose_plugin_is_broken_is_refused_with_the_cause(install: Any) -> None:
    install("acme-policies", source("import nothing_of_this_name"))
    with pytest.raises(ConfigurationError) as caught:
        PluginHost().choose(RecoveryProvider, "acme")
    (fault,) = caught.value.faults
    assert "acme_policies (acme-policies) is broken" in fault.message
    assert "nothing_of_this_name" in fault.message
    assert fault.message.isprintable()


def test_an_import_that_hangs_is_given_up_and_what_it_brings_later_is_not_taken(
    install: Any, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = types.ModuleType("gate_of_the_test")
    holder.wait = gate.wait  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gate_of_the_test", holder)
    install("acme-policies", source("import gate_of_the_test; gate_of_the_test.wait(60)"))
    began = time.monotonic()
    host = PluginHost(blocked=["docker"], patience=0.5)
    assert time.monotonic() - began < 5
    found = info(host, "acme_policies")
    assert found.reason.startswith("its import did not come back within 0.5 s")
    left = [t for t in threading.enumerate() if t.name == f"{HANGING}acme_policies"]
    assert [thread.daemon for thread in left] == [True]
    assert left[0].name in found.reason
    gate.set()
    left[0].join(10)
    assert info(host, "acme_policies") == found
    assert "acme" not in {p.name for p in host.all_providers()}


def test_a_hook_that_hangs_is_named(gate: threading.Event) -> None:
    told = reason(lambda: gate.wait(60) and [])
    assert told.startswith("flow_manager_recovery_policies did not come back within 0.2 s")


async def _async() -> Any:
    return []


async def _async_generator() -> Any:
    yield policy()


def _generator() -> Any:
    yield policy()


def _raise(error: BaseException) -> Callable[[], Any]:
    def hook() -> Any:
        raise error

    return hook


def _with_argument(surprise: Any) -> Any:
    return []


class _Unreadable(Exception):
    def __str__(self) -> str:
        raise SystemExit("not even this")


@pytest.mark.parametrize(
    ("hook", "told"),
    [
        (_raise(ZeroDivisionError("oops")), "policies failed: ZeroDivisionError: oops"),
        (_raise(SystemExit(1)), "SystemExit: 1"),
        (_raise(KeyboardInterrupt()), "KeyboardInterrupt"),
        (_raise(asyncio.CancelledError()), "CancelledError"),
        (_raise(GeneratorExit()), "GeneratorExit"),
        (_raise(_Unreadable()), "its message cannot be read"),
        (_async, "is async"),
        (_async_generator, "is async"),
        (_generator, "returned generator, not a list of RecoveryProvider"),
        (lambda: None, "returned NoneType, not a list of RecoveryProvider"),
        (policy, "returned RecoveryProvider, not a list"),
        (lambda: {"x": policy()}, "returned dict, not a list"),
        (lambda: ["x"], "returned a str where a RecoveryProvider belongs"),
        (lambda: [RecoveryProvider], "returned a type where a RecoveryProvider belongs"),
        (
            lambda: [BackendProvider(name="x", factory=_nothing)],
            "returned a BackendProvider where a RecoveryProvider belongs",
        ),
        (lambda: [policy(), policy()], "offers 'x' twice"),
        (lambda: [policy(name="none")], "as core (flow-manager-core) does; block one of them"),
        (_with_argument, "surprise"),
    ],
)
def test_a_hook_that_misbehaves_is_named_and_hurts_nobody(hook: Any, told: str) -> None:
    assert told in reason(hook)


def _nothing(*_arguments: Any) -> Any:
    return None


def test_a_hook_that_would_wrap_the_others_is_refused() -> None:
    assert "is a wrapper" in reason(_generator, wrapper=True)


def test_a_misspelt_hook_is_named() -> None:
    host = PluginHost(plugins=[plugin(_nothing, "flow_manager_recovery_polices")], installed=False)
    assert "unknown hook 'flow_manager_recovery_polices'" in info(host, "mine").reason


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_without_its_mark_is_named(hook: str) -> None:
    module = types.ModuleType("mine")
    setattr(module, hook, list)
    host = PluginHost(plugins=[module], installed=False)
    assert info(host, "mine").reason == f"{hook} lacks the mark @hookimpl"


def test_a_bundled_plugin_keeps_its_name_against_a_newcomer(install: Any) -> None:
    install("aaa-first", source().replace('"acme"', '"backoff"'))
    install("zzz-docker", source(), entry="docker")
    host = PluginHost()
    assert "as backoff (flow-manager-backoff) does" in info(host, "aaa_first").reason
    named = {i.distribution: i for i in host.infos if i.name == "docker"}
    assert named["flow-manager-docker"].status is PluginStatus.LOADED
    assert "flow-manager-docker has a plugin of the same name" in named["zzz-docker"].reason


def test_a_bundled_plugin_that_is_blocked_leaves_its_name_to_another(install: Any) -> None:
    install("acme-policies", source().replace('"acme"', '"backoff"'))
    host = PluginHost(blocked=["flow-manager-backoff"])
    host.choose(RecoveryProvider, "backoff")
    assert info(host, "acme_policies").status is PluginStatus.LOADED


@pytest.mark.parametrize(
    ("entry_points", "told"),
    [
        (b"[flow_manager]\nacme = \xff\xfe\n", "its metadata cannot be read"),
        (b"[flow_manager]\nacme = not a module!\n", "failed"),
    ],
)
def test_metadata_that_cannot_be_read_hides_no_other_plugin(
    install: Any, entry_points: bytes, told: str
) -> None:
    install("acme-policies", source(), entry_points=entry_points)
    host = PluginHost()
    broken = next(i for i in host.infos if i.distribution == "acme-policies")
    assert broken.status is PluginStatus.BROKEN
    assert told in broken.reason
    assert host.choose(TransportProvider, "unix_socket")


def test_a_plugin_object_whose_attributes_raise_is_set_aside() -> None:
    class Trap:
        __name__ = "mine"

        @property
        def flow_manager_transports(self) -> Any:
            raise SystemExit("do not look")

    host = PluginHost(plugins=[Trap()], installed=False)
    assert "do not look" in info(host, "mine").reason


def test_a_plugin_that_ends_well_leaves_no_thread() -> None:
    before = set(threading.enumerate())
    loaded = load_plugin("mine", lambda: plugin(lambda: [policy()]))
    assert [p.name for p in loaded.provides] == ["x"]
    assert set(threading.enumerate()) == before


def test_a_process_ends_although_a_plugin_hangs(install: Any) -> None:
    folder: Path = install("acme-policies", source("import threading; threading.Event().wait()"))
    program = (
        "from flow_manager_core import PluginHost\n"
        "host = PluginHost(blocked=['docker', 'socketio'], patience=0.5)\n"
        "print(*[i.name for i in host.broken])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("acme_policies\n", "", 0)
