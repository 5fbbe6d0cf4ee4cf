"""A trio program that asks a flow and listens to events: ``python trio_host.py FOLDER``."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import trio

from flow_manager_core import FlowManager, Settings
from flow_manager_core.events import Event, SocketConnected

FLOW = """
from flow_manager_sdk import Flow

flow = Flow()
flow.on("double")(lambda number: 2 * number)
flow.run()
"""


async def tell(events: AsyncIterator[Event], connected: trio.Event) -> None:
    """Print what happens, until cancelled."""
    async for event in events:
        print(event.name)
        if isinstance(event, SocketConnected):
            connected.set()


async def main(home: Path) -> None:
    code = home / "code"
    code.mkdir()
    (code / "flow.py").write_text(FLOW)
    settings = Settings(
        instance="trio-app",
        backend="process",
        socket_dir=home / "sockets",
        state_dir=home / "state",
        volume_roots=(home,),
    )
    connected = trio.Event()
    async with (
        FlowManager(settings) as manager,
        manager.subscribe() as events,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(tell, events, connected)
        made = await manager.execute(
            "create_container",
            {"image": "python", "command": ["flow.py"], "code_path": str(code), "start": True},
        )
        with trio.fail_after(20):
            await connected.wait()
        one = {"container_id": made["container_id"]}
        message = {"command": "double", "data": 21}
        answer = await manager.execute("send_message", {**one, "message": message, "reply": True})
        print(answer["reply"]["data"])
        await manager.execute("delete_container", one)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]))
