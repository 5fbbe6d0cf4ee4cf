"""The process backend keeps the contract of all backends."""

from __future__ import annotations

from typing import ClassVar

from flow_manager_core.models import CreatePlan
from flow_manager_core.testing.backend_suite import BackendSuite
from flow_manager_process.plugin import PROVIDER


class TestProcessBackend(BackendSuite):
    provider = PROVIDER
    python: ClassVar[tuple[str, ...]] = ()
    working_dir: ClassVar[str | None] = None
    unsupported_fields: ClassVar[frozenset[str]] = frozenset(
        {"volumes", "ports", "network", "user", "resources", "pull"}
    )

    def cannot_start(self, name: str) -> CreatePlan:
        program = self.code_path / "no-program"
        program.write_text("not executable")
        return self.plan(name, image=str(program))
