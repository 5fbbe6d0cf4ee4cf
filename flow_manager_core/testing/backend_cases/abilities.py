"""Cases: what a backend says it cannot do, and what running containers use."""

from __future__ import annotations

from typing import Any

import pytest

from flow_manager_core.contracts import ContainerBackend, ResourceMeter
from flow_manager_core.models import Mount, PortMapping, PullPolicy, Resources
from flow_manager_core.testing.backend_cases.programs import BackendPrograms

FIELDS: dict[str, Any] = {
    "volumes": (Mount("/srv/data", "/data"),),
    "ports": (PortMapping(8080, 0),),
    "network": "bridge",
    "user": "1000",
    "resources": Resources(memory=64 * 1024 * 1024),
    "pull": PullPolicy.MISSING,
    "environment": {"A": "1"},
    "labels": {"a": "1"},
    "working_dir": "/",
}


class AbilityCases(BackendPrograms):
    """`ContainerBackend.unsupported` and `ResourceMeter`."""

    async def test_a_plain_container_is_supported(self, backend: ContainerBackend) -> None:
        assert list(backend.unsupported(self.plan("a").spec)) == []

    @pytest.mark.parametrize("field", FIELDS)
    async def test_a_field_that_cannot_be_honoured_is_named(
        self, backend: ContainerBackend, field: str
    ) -> None:
        faults = backend.unsupported(self.plan("a", **{field: FIELDS[field]}).spec)
        assert [f.field for f in faults] == [field] * (field in self.unsupported_fields)
        assert all(f.message for f in faults)

    async def test_all_faults_are_named_at_once(self, backend: ContainerBackend) -> None:
        faults = backend.unsupported(self.plan("a", **FIELDS).spec)
        assert {f.field for f in faults} == self.unsupported_fields

    async def test_a_running_container_is_measured(self, backend: ContainerBackend) -> None:
        if not isinstance(backend, ResourceMeter):
            pytest.skip("this backend measures nothing")
        made = await self.running(backend, self.runs("a"))
        first, second = [await backend.usage(made) for _ in range(2)]
        assert first is not None
        assert second is not None
        assert first.timestamp <= second.timestamp
        assert (second.memory_usage or 0) > 0
        assert (second.pids or 0) > 0
        await backend.stop(made, self.patience)
        assert await backend.usage(made) is None
