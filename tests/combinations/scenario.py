"""What a user does with a container, from its making to its end, whoever carries it out."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import flow_manager_sdk
from tests.combinations.sides import Side

FLOW = Path(__file__).parent / "flow.py"


def write_code(folder: Path, version: int) -> str:
    """Make a code folder: the flow, and the SDK that it imports."""
    package = Path(flow_manager_sdk.__file__).parent
    shutil.copytree(package, folder / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    text = FLOW.read_text().replace("VERSION = 1", f"VERSION = {version}")
    (folder / "flow.py").write_text(text)
    return str(folder)


async def live(side: Side, image: str, command: list[str], folder: Path) -> None:
    """Create, talk, crash, recover, update, stop and delete; every step is seen by the client."""
    before = (await side.ask("list_containers"))["containers"]
    made = await side.ask(
        "create_container",
        image=image,
        command=command,
        code_path=write_code(folder / "one", 1),
        restart={"policy": "on-crash"},
        stop_timeout=2,
        start=True,
        request_id=f"scenario-{folder.name}",
    )
    key = made["container_id"]
    assert made["request_id"] == f"scenario-{folder.name}"
    try:
        await talk(side, key)
        await crash(side, key)
        await update(side, key, folder)
        await end(side, key)
    finally:
        await side.try_to("delete_container", container_id=key)
    assert (await side.ask("list_containers"))["containers"] == before


async def talk(side: Side, key: str) -> None:
    """A question and its answer, and a word of the flow's own."""
    assert (await side.event("socket_connected", container_id=key))["reconnected"] is False
    assert await question(side, key, "echo", {"n": [1, 2.5, None]}) == {"n": [1, 2.5, None]}
    message = {"command": "announce", "data": "hello"}
    sent = await side.ask("send_message", container_id=key, message=message)
    assert (sent["status"], sent["message"]) == ("sent", message)
    heard = await side.event("message_received", container_id=key)
    assert heard["message"] == {"command": "announced", "data": "hello"}


async def crash(side: Side, key: str) -> None:
    """It is told as what it was, and the flow comes back by itself."""
    mark = side.mark()
    message = {"command": "exit", "data": 3}
    await side.ask("send_message", container_id=key, message=message)
    told = await side.event("container_crashed", since=mark, container_id=key)
    assert told["exit_code"] == 3
    await side.event("container_recovered", since=mark, container_id=key, attempt=1)
    up = await side.event("socket_connected", since=mark, container_id=key)
    assert up["reconnected"] is True
    assert (await side.ask("get_container_status", container_id=key))["restarts"] == 1


async def update(side: Side, key: str, folder: Path) -> None:
    """New code runs and answers."""
    code = write_code(folder / "two", 2)
    mark = side.mark()
    updated = await side.ask("update_container", container_id=key, code_path=code)
    assert updated["code_path"] == code
    assert (updated["container_id"], updated["status"]) == (key, "updated")
    await side.event("socket_connected", since=mark, container_id=key)
    assert await question(side, key, "version") == 2


async def end(side: Side, key: str) -> None:
    """A stop is no crash, and what is deleted is not found."""
    mark = side.mark()
    stopped = await side.ask("stop_container", container_id=key)
    assert (stopped["container_id"], stopped["status"]) == (key, "stopped")
    assert (await side.ask("get_container_status", container_id=key))["state"] == "stopped"
    refused = await side.failure(
        "send_message", container_id=key, message={"command": "echo"}, reply=True
    )
    assert refused["error_type"] == "socket_connection_error"
    await side.ask("delete_container", container_id=key)
    gone = await side.failure("get_container_status", container_id=key)
    assert gone["error_type"] == "container_not_found"
    assert side.told("container_crashed", since=mark) == []


async def question(side: Side, key: str, command: str, data: Any = None) -> Any:
    """Ask the flow; return the data of its answer."""
    message = {"command": command, "data": data}
    answer = await side.ask(
        "send_message", container_id=key, message=message, reply=True, timeout=20
    )
    return answer["reply"]["data"]
