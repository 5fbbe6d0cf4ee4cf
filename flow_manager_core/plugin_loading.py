"""Lets one plugin in: imports it, calls its hooks, and comes back whatever it does.

Each plugin is loaded in a thread and with a `pluggy.PluginManager` of its own. So it meets no other
plugin's hooks; whatever it raises, an exit and a cancellation too, ends its thread alone; and one
that does not come back is given up after a deadline. A thread cannot be killed: it is left behind
as a daemon, with the plugin's name, and what it may bring later is not looked at.

pluggy stops a call at the first hook that raises, drops what returns ``None``, and hands a
coroutine on without running it; so the hooks are looked up with pluggy, and called one by one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pluggy
from attrs import define, frozen

from flow_manager_core import hookspecs
from flow_manager_core.hookspecs import PROJECT
from flow_manager_core.plugin_records import BrokenPlugin, records_of, told
from flow_manager_core.providers import (
    BackendProvider,
    ErrorFormatProvider,
    FrontendProvider,
    JournalProvider,
    Provider,
    RecoveryProvider,
    TransportProvider,
)

#: Hook to the class of the records that it returns.
HOOKS: dict[str, type[Provider]] = {
    "flow_manager_container_backends": BackendProvider,
    "flow_manager_transports": TransportProvider,
    "flow_manager_recovery_policies": RecoveryProvider,
    "flow_manager_error_formats": ErrorFormatProvider,
    "flow_manager_frontends": FrontendProvider,
    "flow_manager_journals": JournalProvider,
}

#: Seconds that one plugin may take for its import and all its hooks. Imports of the bundled ones
#: take under a second; a machine that is ten times slower still starts.
PATIENCE = 10.0


@frozen
class Loaded:
    """What became of one plugin.

    Args:
        provides: its records; empty where it is broken.
        reason: why it is broken, in one line; empty where it is not.
    """

    provides: tuple[Provider, ...] = ()
    reason: str = ""


def load_plugin(name: str, find: Callable[[], object], patience: float = PATIENCE) -> Loaded:
    """Load one plugin.

    Args:
        name: for messages and for the thread.
        find: imports it, and returns it.
        patience: seconds for `find` and for its hooks together.
    """
    attempt = _Attempt(name, find)
    thread = threading.Thread(target=attempt.run, name=f"flow-manager-plugin-{name}", daemon=True)
    thread.start()
    thread.join(patience)
    if thread.is_alive():
        return Loaded(
            reason=f"{attempt.step} did not come back within {patience:g} s"
            f" (left behind in the thread {thread.name})"
        )
    return attempt.outcome


@define
class _Attempt:
    name: str
    find: Callable[[], object]
    step: str = "its import"
    outcome: Loaded = Loaded(reason="it ended its thread")

    def run(self) -> None:
        try:
            plugin = self.find()
            self.step = "its registration"
            self.outcome = Loaded(tuple(self._records(plugin)))
        except BrokenPlugin as error:
            self.outcome = Loaded(reason=told(error))
        except BaseException as error:  # noqa: BLE001  # a plugin may do anything
            self.outcome = Loaded(reason=f"{self.step} failed: {told(error)}")

    def _records(self, plugin: object) -> Iterator[Provider]:
        manager = pluggy.PluginManager(PROJECT)
        manager.add_hookspecs(hookspecs)
        manager.register(plugin, self.name)
        manager.check_pending()
        seen: set[tuple[str, str]] = set()
        for hook, kind in HOOKS.items():
            for function in _functions(manager, plugin, hook):
                self.step = hook
                for record in records_of(hook, kind, function()):
                    if (record.kind, record.name) in seen:
                        raise BrokenPlugin(f"{hook} offers {record.name!r} twice")
                    seen.add((record.kind, record.name))
                    yield record


def _functions(manager: pluggy.PluginManager, plugin: object, hook: str) -> list[Callable[[], Any]]:
    implementations = getattr(manager.hook, hook).get_hookimpls()
    if not implementations and callable(getattr(plugin, hook, None)):
        raise BrokenPlugin(f"{hook} lacks the mark @hookimpl")
    if any(i.wrapper or i.hookwrapper for i in implementations):
        raise BrokenPlugin(f"{hook} is a wrapper; hooks are plain functions")
    return [i.function for i in implementations]
