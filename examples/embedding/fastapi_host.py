"""A FastAPI app with a flow manager inside: ``uvicorn fastapi_host:app``."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException

from flow_manager_core import FlowManager, FlowManagerError, Settings
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
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    async with manager:
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/flows", flows)


@app.get("/status/{name}")
async def status(name: str) -> dict[str, Any]:
    try:
        return await manager.execute("get_container_status", {"container_id": name})
    except FlowManagerError as error:
        raise HTTPException(404, error.message) from error
