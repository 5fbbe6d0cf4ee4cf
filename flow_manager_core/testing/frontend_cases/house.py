"""What stands behind the frontend: a manager, and an engine in memory."""

from __future__ import annotations

from typing import Any

from attrs import define

from flow_manager_core.errors import FlowManagerError
from flow_manager_core.manager import FlowManager
from flow_manager_core.testing.memory_client import Told, as_json
from flow_manager_core.testing.memory_container import Box
from flow_manager_core.testing.memory_engine import MemoryEngine


@define
class House:
    """A manager with its frontend, and what the engine below it is."""

    manager: FlowManager
    engine: MemoryEngine

    @property
    def address(self) -> str:
        """Where the frontend says that it is."""
        return self.manager.addresses[0]

    async def execute(self, name: str, payload: object) -> Told:
        """What a request comes to without any frontend: an event's name and body."""
        try:
            return "done", as_json(await self.manager.execute(name, payload))
        except FlowManagerError as error:
            return "error", as_json(self.manager.error_body(error))

    async def create(self, name: str, *command: str, **more: Any) -> str:
        """Make and start a container with a program of the image ``memory``."""
        payload = {"image": "memory", "name": name, "command": list(command), "start": True}
        made = await self.manager.execute("create_container", {**payload, **more})
        return str(made["container_id"])

    def kill(self, container_id: str) -> None:
        """Kill a container's run from outside."""
        self.engine.kill(self._box(container_id), 9)

    def runs(self, container_id: str) -> bool:
        """Whether a container's program runs."""
        return self._box(container_id).run is not None

    def stopping(self, container_id: str) -> bool:
        """Whether a container's program was asked to end, and has not."""
        run = self._box(container_id).run
        return run is not None and run.flow.catch_terminate().is_set()

    def _box(self, container_id: str) -> Box:
        boxes = [box for boxes in self.engine.boxes.values() for box in boxes.values()]
        return next(box for box in boxes if box.seen.id.startswith(container_id))
