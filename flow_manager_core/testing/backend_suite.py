"""The contract of `ContainerBackend`, as tests that any backend can run on itself.

A subclass names the provider and says how programs are run on its engine::

    class TestMyBackend(BackendSuite):
        provider = MY_PROVIDER          # the record that the plugin's hook returns
        image = "python:3.12-slim"      # an image with Python in it
        python = ("python3",)           # what comes before Python's arguments
        unsupported_fields = frozenset({"network"})

pytest collects it like any test class and runs it with anyio's plugin, on asyncio and trio where
the fixture `anyio_backend` says so. `BackendPrograms` documents all hooks: an engine that cannot
run Python overrides the methods that build plans (`runs`, `exits`, `prints` ...), one that needs
more than its provider record overrides `open`. Each test has an instance name of its own, and
removes its containers at the end.
"""

from __future__ import annotations

from flow_manager_core.testing.backend_cases.abilities import AbilityCases
from flow_manager_core.testing.backend_cases.adoption import AdoptionCases
from flow_manager_core.testing.backend_cases.code import CodeCases
from flow_manager_core.testing.backend_cases.following import FollowingCases
from flow_manager_core.testing.backend_cases.life import LifeCases
from flow_manager_core.testing.backend_cases.memory import MemoryCases
from flow_manager_core.testing.backend_cases.output import OutputCases
from flow_manager_core.testing.backend_cases.reaching import ReachingCases
from flow_manager_core.testing.backend_cases.snapshots import SnapshotCases
from flow_manager_core.testing.backend_cases.watching import WatchCases


class BackendSuite(
    LifeCases,
    OutputCases,
    AdoptionCases,
    MemoryCases,
    WatchCases,
    CodeCases,
    AbilityCases,
    ReachingCases,
    FollowingCases,
    SnapshotCases,
):
    """Every case of the contract; see the module's text for how to subclass."""
