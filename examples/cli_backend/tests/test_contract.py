"""The backend keeps the contract of `ContainerBackend`: the core's own suite says so.

Needs an engine with the image that ``SUITE_IMAGE`` names, which has Python in it.
"""

from __future__ import annotations

import os

from flow_engine_cli.plugin import PROVIDER

from flow_manager_core.models import CreatePlan
from flow_manager_core.testing.backend_suite import BackendSuite


class TestCliBackend(BackendSuite):
    provider = PROVIDER
    image = os.environ.get("SUITE_IMAGE", "python:3.12-slim")
    unsupported_fields = frozenset({"volumes", "ports", "network", "working_dir", "resources"})

    def cannot_start(self, name: str) -> CreatePlan:
        # Not by its command: with the engine's init, one that is not there is a run with code 127.
        return self.script(name, "", user="no-such-user")
