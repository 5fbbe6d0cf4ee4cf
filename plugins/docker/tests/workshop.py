"""Plans of containers that the tests of the Docker backend make, and ways to wait for them."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
from attrs import evolve, field, frozen

from flow_manager_core.contracts import ContainerBackend
from flow_manager_core.errors import ContainerNotFound
from flow_manager_core.log import get_log
from flow_manager_core.models import Attachment, Container, ContainerSpec, CreatePlan
from flow_manager_core.providers import ProviderContext
from flow_manager_core.settings import Settings
from flow_manager_docker import DockerBackend, DockerSettings

SLEEPS = ("python3", "-c", "import time; print('ready', flush=True); time.sleep(600)")
STUBBORN = (
    "python3",
    "-c",
    "import signal; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); signal.pause()",
)
PATIENCE = 20.0


async def until(check: Callable[[], Awaitable[Any]]) -> Any:
    """Ask until the answer is true; return it."""
    with anyio.fail_after(PATIENCE):
        while not (found := await check()):
            await anyio.sleep(0.02)
        return found


@frozen
class Workshop:
    """Makes backends and plans of one instance."""

    image: str
    core: Settings = field(factory=lambda: Settings(instance=f"docker-{secrets.token_hex(4)}"))

    def open(
        self, core: Settings | None = None, **settings: Any
    ) -> AbstractAsyncContextManager[ContainerBackend]:
        """One life of a backend."""
        own = DockerSettings(**settings)
        return DockerBackend.open(
            ProviderContext(settings=own, core=core or self.core, log=get_log("backend.docker"))
        )

    def plan(self, name: str, *command: str, labels: Any = None, **spec: Any) -> CreatePlan:
        """What the manager would ask for."""
        attachment = spec.pop("attachment", Attachment({}))
        full = f"{self.core.instance}-{name}"
        own = {
            "flow-manager.managed": "true",
            "flow-manager.instance": self.core.instance,
            "flow-manager.name": full,
        }
        made = ContainerSpec(
            **{"image": self.image, "name": full, "command": command or SLEEPS, **spec}
        )
        return CreatePlan(spec=made, labels={**(labels or {}), **own}, attachment=attachment)

    def script(self, name: str, code: str, **spec: Any) -> CreatePlan:
        """A plan of a Python program."""
        return self.plan(name, "python3", "-c", code, **spec)

    def other(self) -> Workshop:
        """Another instance on the same engine."""
        return evolve(self, core=Settings(instance=f"{self.core.instance}-other"))

    async def running(self, backend: ContainerBackend, plan: CreatePlan) -> str:
        """Create, start and wait for the program's word."""
        made = await backend.create(plan)
        await backend.start(made.id)
        await until(lambda: backend.logs(made.id, tail=None, since=None))
        return made.id

    async def output(self, backend: ContainerBackend, plan: CreatePlan) -> list[str]:
        """Run a program to its end; return its lines."""
        made = await backend.create(plan)
        await backend.start(made.id)
        await self.ended(backend, made.id)
        return [e.line for e in await backend.logs(made.id, tail=None, since=None)]

    async def ended(self, backend: ContainerBackend, container_id: str) -> Container:
        """Wait for the end of the run."""

        async def over() -> Container | None:
            seen = await backend.inspect(container_id)
            return seen if seen.state.ended else None

        found: Container = await until(over)
        return found


async def clear(backend: ContainerBackend) -> None:
    """Remove all containers of a backend's instance."""
    for left in await backend.list():
        try:
            await backend.remove(left.id)
        except ContainerNotFound:
            continue
