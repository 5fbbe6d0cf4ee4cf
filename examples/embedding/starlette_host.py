"""A Starlette app with a flow manager inside: ``uvicorn starlette_host:app``."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from flow_manager_core import FlowManager, Settings
from flow_manager_socketio import MountedSocketIO

HOME = Path(os.environ["APP_HOME"])

flows = MountedSocketIO()
manager = FlowManager(
    Settings(
        instance="my-app",
        backend="process",
        token=os.environ["APP_TOKEN"],
        socket_dir=HOME / "sockets",
        state_dir=HOME / "state",
        volume_roots=(HOME,),
    ),
    frontends=[flows.provider],
)


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncIterator[None]:
    async with manager:
        yield


async def index(_request: Request) -> JSONResponse:
    listed = await manager.execute("list_containers", {})
    return JSONResponse({"flows": listed["count"]})


app = Starlette(routes=[Route("/", index), Mount("/flows", flows)], lifespan=lifespan)
