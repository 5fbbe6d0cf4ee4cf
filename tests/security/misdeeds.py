"""All that clients do to make a service tell what it must not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aiohttp
import anyio

from tests.e2e.client import Client
from tests.security import faulty_service as faults
from tests.security.stage import Stage

SPEAKING = "import os, sys; print(os.environ['SPOKEN'], flush=True); sys.exit(3)"


async def fail(client: Client, request: str, /, **payload: Any) -> dict[str, Any]:
    """Send a request that must be refused."""
    answer = await client.ask(request, **payload)
    assert answer.get("error") is True, answer
    return answer


async def failed_creates(stage: Stage, client: Client) -> None:
    """Creates that fail by the engine's word, by the manager's, and by faults in between."""
    service = stage.service
    variables = {"PASSWORD": stage["variable of a failed create"]}
    common = {"image": service.image, "environment": variables, "command": service.command("x")}
    password = stage["password in an image's name"]
    wrong: list[dict[str, Any]] = [
        {"image": "/no/such/program" if service.backend == "process" else "no-such/image:1"},
        {"image": f"https://user:{password}@example.org/x:1"},
        {"image": f"user:{password}@example.org/x:1"},
        {"name": "holder"},
        {"name": faults.PROVOKED},
        {"ports": {"x": 1}, "volumes": {"relative": "y"}, "unknown": 1},
        {"volumes": {str(service.root / "not-there"): "/data"}},
        {"labels": {"flow-manager.name": "x"}, "stop_timeout": "long"},
        {"restart": {"policy": "sometimes"}, "command": []},
    ]
    if service.backend == "docker":
        wrong += [
            {"name": faults.ECHOED},
            {"name": faults.BROKEN},
            {"name": "start-fails", "command": ["/no/such/program"], "start": True},
            {
                "name": "port-taken",
                "ports": {"80": int(service.url.rpartition(":")[2])},
                "start": True,
            },
            {"image": "example.org/a/b:1", "working_dir": "/", "code_path": str(service.root)},
        ]
    else:
        ends = service.command(f"{faults.PROVOKED}-start")
        wrong += [{"name": "start-fails", "command": ends, "start": True}]
    for each in wrong:
        await fail(client, "create_container", **{**common, **each})
    for name in ("start-fails", "port-taken"):
        await client.ask("delete_container", container_id=name)


async def malformed_environments(stage: Stage, client: Client) -> None:
    """Environments that cannot be: the fault must name them without telling what is in them."""
    secret = stage["variable that is not well formed"]
    for wrong in (
        secret,
        [f"PASSWORD={secret}"],
        {f"PASSWORD={secret}": ""},
        {f"PASSWORD={secret}": "x", "OTHER": [secret]},
        {"PASSWORD": {"value": secret}},
        {"PASSWORD": f"{secret}\0"},
        {"PASSWORD": f"{secret}\ud800"},
        {"PASSWORD": secret * 4000},
        {"FLOW_SOCKET": secret, "": secret},
    ):
        await fail(client, "create_container", image=stage.service.image, environment=wrong)


async def a_crash_with_the_value_in_its_output(stage: Stage, client: Client) -> None:
    """A flow that prints its own secret: the crash tells what it said."""
    start = len(client.events)
    await client.create(
        command=stage.service.command("-c", SPEAKING),
        environment={"SPOKEN": stage["spoken by a flow"]},
        restart={"policy": "on-crash", "max_attempts": 1},
        start=True,
        name="speaker",
    )
    await client.event("recovery_gave_up", since=start)


async def a_flow_with_a_secret(stage: Stage, client: Client, code: Path) -> None:
    """A flow that works, hears and says messages, and whose code is replaced."""
    key = await client.running(
        name="holder",
        code_path=str(code),
        environment={"PASSWORD": stage["variable"], "SPOKEN": stage["spoken by a flow"]},
        restart={"policy": "on-crash"},
    )
    await client.say(key, "say", stage["message"])
    await client.event("message_received", container_id=key)
    assert await client.question(key, "echo", stage["message"]) == stage["message"]
    await fail(client, "update_container", container_id=key, code_path="/etc")
    await client.ask("update_container", container_id=key, code_path=str(code))
    await client.say(key, "raw", "00000001ff")
    await client.say(key, "exit", 1)
    await client.event("container_recovered", container_id=key)
    client._made.clear()


async def wrong_tokens(stage: Stage) -> None:
    """Everywhere that a token can be put, one that is wrong, also in packets that are none."""
    wrong, url = stage["wrong token"], stage.service.url
    engine = "/socket.io/?EIO=4&transport="
    near_miss = f"{stage.service.token[:-1]}~"
    packets = [
        "40" + json.dumps({"token": near_miss}),
        "40" + json.dumps({"token": wrong}),
        "40" + json.dumps({"token": [wrong]}),
        "40" + json.dumps(wrong),
        "40" + json.dumps({"token": wrong, "events": wrong}),
        '40{"token":"' + wrong,
        f"40{wrong}",
        f"42{wrong}",
        f'42["{wrong}"',
        f'451-["{wrong}",{{"_placeholder":true,"num":0}}]',
        f"4{wrong}",
        wrong,
        f"2{wrong}",
        f"6{wrong}",
    ]
    headers = {"Authorization": f"Bearer {wrong}", "Cookie": f"token={wrong}"}
    async with aiohttp.ClientSession(url, headers=headers) as http:
        for path in ("/health", "/metrics", "/nothing", "/socket.io/", f"{engine}nothing"):
            async with http.get(path, params={"token": wrong}) as answer:
                stage.keep("http", (path, await answer.text(), dict(answer.headers)))
        async with anyio.create_task_group() as group:
            for packet in packets:
                group.start_soon(_send_packet, stage, http, f"{engine}websocket", packet)
                group.start_soon(_post_packet, stage, http, f"{engine}polling", packet)


async def _send_packet(stage: Stage, http: aiohttp.ClientSession, url: str, packet: str) -> None:
    """Send it over a connection of its own, and hear what comes until that is closed."""
    async with http.ws_connect(url) as line:
        await line.receive_str()
        await line.send_str(packet)
        async for message in line:
            stage.keep("socket", (packet[:2], message.data))
            if str(message.data).startswith("44"):
                break


async def _post_packet(stage: Stage, http: aiohttp.ClientSession, url: str, packet: str) -> None:
    """Post it to a session of its own."""
    async with http.get(url) as answer:
        session = json.loads((await answer.text())[1:])["sid"]
    async with http.post(f"{url}&sid={session}", data=packet) as answer:
        stage.keep("http", ("polling", await answer.text()))
