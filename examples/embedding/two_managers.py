"""One app, two managers: ``uvicorn two_managers:app``. Neither sees the other's containers."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.routing import Mount

from flow_manager_core import FlowManager, Settings
from flow_manager_socketio import MountedSocketIO

HOME = Path(os.environ["APP_HOME"])


def managed(name: str) -> tuple[FlowManager, MountedSocketIO]:
    """Make a manager, and the app through which its clients come in."""
    mounted = MountedSocketIO()
    settings = Settings(
        instance=name,
        backend="process",
        token=os.environ["APP_TOKEN"],
        socket_dir=HOME / name / "sockets",
        state_dir=HOME / "state",
    )
    return FlowManager(settings, frontends=[mounted.provider]), mounted


blue, blue_clients = managed("blue")
green, green_clients = managed("green")


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncIterator[None]:
    async with blue, green:
        yield


app = Starlette(
    routes=[Mount("/blue", blue_clients), Mount("/green", green_clients)], lifespan=lifespan
)
