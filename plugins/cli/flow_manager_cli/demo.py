"""``flow-manager demo``: the main job in one minute, on the best backend that is here."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import anyio

from flow_manager_core import FlowManager, FlowManagerError, PluginHost, Settings
from flow_manager_core.errors import ConfigurationError, EngineError, ImageNotFound
from flow_manager_core.events import Event
from flow_manager_core.providers import FrontendProvider
from flow_manager_core.service import CONFIGURATION_EXIT, event_loop_options
from flow_manager_core.settings import AUTO

#: Asked of the registry when Docker has no image that was named.
DOCKER_IMAGE = "python:3-alpine"
#: Seconds for each step; fetching an image aside.
PATIENCE = 30.0

Say = Callable[[str], None]


def run_demo(*, backend: str | None, image: str | None, blocked: Sequence[str], say: Say) -> int:
    """Run the demo and return the exit code; everything it made is gone afterwards."""
    # Not below TMPDIR: a socket's path holds 107 bytes. Named by whose it is, should it be killed.
    prefix = f"flow-manager-demo-{os.getpid()}-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir="/tmp") as folder:
        demo = Demo(Path(folder), image, blocked, say)
        try:
            anyio.run(demo.run, backend or AUTO, backend_options=event_loop_options())
        except ConfigurationError as error:
            for fault in error.faults:
                print(f"flow-manager: {fault.field}: {fault.message}", file=sys.stderr)
            return CONFIGURATION_EXIT
        except FlowManagerError as error:
            print(f"flow-manager: {error.message}. {error.hint}", file=sys.stderr)
            return 1
    return 0


class Demo:
    """One showing.

    Args:
        folder: for the code, the sockets and the state; empty.
        image: for Docker; left out: one that the registry has.
    """

    def __init__(self, folder: Path, image: str | None, blocked: Sequence[str], say: Say) -> None:
        self._folder = folder
        self._image = image
        self._say = say
        self._host = PluginHost(blocked)
        self._events: AsyncIterator[Event]
        self._manager: FlowManager

    async def run(self, backend: str) -> None:
        """Show it, with the process backend where Docker has no image to show it with."""
        try:
            await self._show(backend)
        except ImageNotFound as error:
            if backend != AUTO or self._image is not None:
                raise
            self._say(f"  Docker has no image with Python ({error.message}): using child processes")
            await self._show("process")

    def _settings(self, backend: str) -> Settings:
        served = {provider.name for provider in self._host.providers(FrontendProvider)}
        return Settings(
            instance=f"demo-{secrets.token_hex(3)}",
            backend=backend,
            frontends=("socketio",) if "socketio" in served else (),
            port=0,
            token=secrets.token_urlsafe(16),
            socket_dir=self._folder / "sockets",
            state_dir=self._folder / "state",
            volume_roots=(self._folder,),
        )

    async def _show(self, backend: str) -> None:
        async with FlowManager(self._settings(backend), host=self._host) as manager:
            self._manager = manager
            where = f", listening on {manager.addresses[0]}" if manager.addresses else ""
            self._say(
                f"1. Flow Manager {manager.version} is up, backend {manager.backend_name}{where}"
            )
            async with manager.subscribe() as events:
                self._events = events
                made = await self._create()
                try:
                    await self._talk(made["container_id"])
                finally:
                    with anyio.CancelScope(shield=True):
                        await manager.execute(
                            "delete_container", {"container_id": made["container_id"]}
                        )
        self._say("6. The container is deleted and the service has ended; nothing is left behind")

    async def _create(self) -> dict[str, Any]:
        code = self._folder / "code"
        code.mkdir(exist_ok=True)
        shutil.copy(Path(__file__).with_name("demo_flow.py"), code / "flow.py")
        on_docker = self._manager.backend_name == "docker"
        made = await self._create_with(
            {
                "image": (self._image or DOCKER_IMAGE) if on_docker else "python",
                "command": ["python3", "flow.py"] if on_docker else ["flow.py"],
                "pull": "missing" if on_docker else "never",
                "code_path": str(code),
                "restart": {"policy": "on-crash"},
                "start": True,
                "stop_timeout": 2,
            }
        )
        await self._until("socket_connected")
        self._say(f"2. Container {made['container_id']} runs the example flow and is connected")
        return made

    async def _create_with(self, payload: dict[str, Any]) -> dict[str, Any]:
        try:
            return await self._manager.execute("create_container", payload)
        except EngineError as error:
            if payload["pull"] == "never":
                raise
            raise ImageNotFound(error.message, hint=error.hint) from error

    async def _talk(self, container_id: str) -> None:
        self._say(f"3. Asked to greet, it answers: {await self._greet(container_id)}")
        await self._send(container_id, {"command": "crash"})
        crashed = await self._until("container_crashed")
        self._say(f"4. Asked to crash, it did: exit code {crashed['exit_code']}, told at once")
        following = await self._until("recovery_scheduled", "recovery_gave_up")
        if "delay" not in following:
            self._say(f"   No automatic restart ({following['reason']}); starting it by hand")
            await self._manager.execute("start_container", {"container_id": container_id})
        await self._until("socket_connected")
        self._say(f"5. Running again, it answers: {await self._greet(container_id)}")

    async def _greet(self, container_id: str) -> str:
        name = os.environ.get("USER") or "world"
        message = {"command": "greet", "data": {"name": name}}
        answer = await self._send(container_id, message, reply=True)
        return str(answer["reply"]["data"])

    async def _send(
        self, container_id: str, message: dict[str, Any], **options: Any
    ) -> dict[str, Any]:
        return await self._manager.execute(
            "send_message", {"container_id": container_id, "message": message, **options}
        )

    async def _until(self, *names: str) -> dict[str, Any]:
        with anyio.fail_after(PATIENCE):
            async for event in self._events:
                if event.name in names:
                    return dict(self._manager.event_body(event))
        raise FlowManagerError(f"The events ended before {' or '.join(names)}")
