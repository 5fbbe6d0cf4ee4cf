"""Several tokens on a real service: who may do what, and who is told to have done it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
import socketio

from tests.e2e.client import Client
from tests.e2e.service import Service

pytestmark = pytest.mark.anyio

TOKENS = {"ci": "the token of the build", "dash": "the dashboard's tokén 😀"}
ROLES = {"ci": "operate", "dash": "read"}

Enter = Callable[[str], AbstractAsyncContextManager[Client]]


@pytest.fixture(scope="module")
def service(tmp_path_factory: Any) -> Iterator[Service]:
    """A service with the token that was set, and two more in files."""
    secrets: Path = tmp_path_factory.mktemp("secrets")
    entries = []
    for name, token in TOKENS.items():
        (secrets / name).write_text(f"{token}\n")
        (secrets / name).chmod(0o600)
        entries.append(f"{name}:{ROLES[name]}:{secrets / name}")
    root = tmp_path_factory.mktemp("keys")
    more = {"FLOW_MANAGER_TOKENS": ",".join(entries)}
    with Service(root, "process", "python", "", **more) as running:
        yield running


@pytest.fixture
def entering(service: Service) -> Enter:
    """Be a client with a token of this name."""

    @asynccontextmanager
    async def enter(name: str) -> AsyncIterator[Client]:
        client = Client(service)
        token = TOKENS.get(name, service.token)
        await client.io.connect(service.url, auth={"token": token})
        try:
            yield client
        finally:
            await client.io.disconnect()

    return enter


async def until_logged(service: Service, *words: str) -> None:
    with anyio.fail_after(10):
        while not any(all(word in line for word in words) for line in service.lines):
            await anyio.sleep(0.01)


@pytest.mark.parametrize(
    ("name", "role"), [("owner", "admin"), ("ci", "operate"), ("dash", "read")]
)
async def test_each_token_lets_in_with_its_role_and_its_name_is_in_the_log(
    service: Service, entering: Enter, name: str, role: str
) -> None:
    async with entering(name) as client:
        assert (await client.event("connected"))["role"] == role
        assert not (await client.ask("list_containers")).get("error")
        await until_logged(service, "Client connected", client.io.get_sid(), f"by={name}")
    await until_logged(service, "Client disconnected", f"by={name}")


async def test_a_token_does_what_its_role_covers_and_no_more(
    service: Service, entering: Enter
) -> None:
    async with entering("owner") as owner, entering("ci") as ci, entering("dash") as dash:
        made = {"image": "python", "command": ["-c", "import time; time.sleep(99)"]}
        for client in (ci, dash):
            refused = await client.ask("create_container", **made)
            assert refused["details"]["required_role"] == "admin"
        assert (await owner.ask("list_containers"))["count"] == 0
        key = (await owner.ask("create_container", **made))["container_id"]

        refused = await dash.ask("start_container", container_id=key)
        assert "this token has read" in refused["message"]
        assert refused["details"]["required_role"] == "operate"
        assert (await dash.ask("get_container_status", container_id=key))["state"] == "created"

        assert (await ci.ask("start_container", container_id=key))["status"] == "running"
        told = await dash.event("activity_log", activity_type="container_started")
        assert told["details"]["by"] == "ci"
        await dash.event("status_changed", new_state="running")

        refused = await ci.ask("delete_container", container_id=key)
        assert refused["details"]["required_role"] == "admin"
        deleted = await owner.ask("delete_container", container_id=key)
        assert deleted["status"] == "deleted"
    await until_logged(service, "Container operation: start", key, "by=ci")
    await until_logged(service, "Operation: delete_container", key, "by=ci")
    await until_logged(service, "Container operation: delete", key, "by=owner")


async def test_no_refusal_says_whose_token_was_nearly_right(service: Service) -> None:
    told = []
    for token in ("x", TOKENS["ci"][:-1], TOKENS["dash"] + "x", "ci", "", "x" * 5000):
        client = socketio.AsyncClient(reconnection=False)
        refused: list[Any] = []
        client.on("connect_error", refused.append)
        with pytest.raises(socketio.exceptions.ConnectionError):
            await client.connect(service.url, auth={"token": token}, transports=["websocket"])
        await client.disconnect()
        body = refused[0]["data"]
        told.append({key: value for key, value in body.items() if key != "timestamp"})
    assert all(body == told[0] for body in told)
    assert told[0]["error_type"] == "validation_error"


async def test_names_and_roles_are_told_at_the_start_and_no_token_is_logged(
    service: Service,
) -> None:
    assert "More tokens: ci:operate, dash:read" in service.lines
    log = (service.root / "flow-manager.log").read_text() + "\n".join(service.lines)
    assert not [token for token in (*TOKENS.values(), service.token) if token in log]
