"""A host carries the manager inside."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, assert_type

from starlette.applications import Starlette
from starlette.routing import Mount

from flow_manager_core import FlowManager, FlowManagerError, PluginHost, Settings
from flow_manager_core.errors import ConfigurationError, InvalidRequest
from flow_manager_core.events import ContainerCrashed, Event, StatusChanged
from flow_manager_core.models import Answer, Client, ContainerState, Fault
from flow_manager_socketio import MountedSocketIO, SocketIOSettings

settings = Settings(backend="process", state_dir=Path("state"), volume_roots=(Path(),))
flows = MountedSocketIO()
manager = FlowManager(
    settings,
    host=PluginHost(installed=False, blocked=["docker"]),
    frontends=[flows.provider],
    provider_settings={"socketio": SocketIOSettings(client_queue=10)},
)


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncIterator[None]:
    async with manager as entered:
        assert_type(entered, FlowManager)
        yield


app = Starlette(routes=[Mount("/flows", flows)], lifespan=lifespan)


async def use() -> None:
    assert_type(await manager.execute("list_containers", {}), dict[str, Any])
    assert_type(manager.settings, Settings)
    assert_type(manager.addresses, list[str])
    answer = await manager.session(Client("mine", "1")).answer("list_containers", {})
    assert_type(answer, Answer)
    assert_type(answer.ok, bool)
    async with manager.subscribe() as events:
        async for event in events:
            assert_type(event, Event)
            take(event)


def take(event: Event) -> ContainerState | int | None:
    match event:
        case StatusChanged(new_state=state):
            assert_type(state, ContainerState)
            return state
        case ContainerCrashed():
            assert_type(event.exit_code, int | None)
            return event.exit_code
        case _:
            return None


def tell(error: FlowManagerError) -> str:
    assert_type(error.details, dict[str, Any])
    assert_type(error.retryable, bool)
    assert_type(error.hint, str)
    assert_type(error.about(more=1), FlowManagerError)
    if isinstance(error, (InvalidRequest, ConfigurationError)):
        assert_type(error.faults, tuple[Fault, ...])
    return error.error_type


async def mistakes() -> None:
    Settings("mine")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Settings(port="8000")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Settings(ports=8000)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    settings.port = 1  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    FlowManager(backend="docker")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    FlowManager(frontends=[flows])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    await manager.execute("list_containers")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    with manager:  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        pass
