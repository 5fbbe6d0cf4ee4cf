"""MountedSocketIO: where it can be mounted, and what its user is told when something is amiss."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest
import trio
from fastapi import FastAPI
from socketio.exceptions import ConnectionError as Refused
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Mount, Route

from flow_manager_core import FlowManager, PluginHost, Settings
from flow_manager_core.errors import ConfigurationError
from flow_manager_core.testing.memory_backend import memory_provider
from flow_manager_core.testing.memory_transport import MemoryNetwork, memory_transport_provider
from flow_manager_socketio import MountedSocketIO, SocketIOSettings
from tests.embedding.guest import served, visiting
from tests.embedding.host import TOKEN

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend(watched: Any) -> Any:
    """Socket.IO is asyncio's alone."""
    return watched("asyncio")


def managed(
    flows: MountedSocketIO, own: SocketIOSettings | None = None, **core: Any
) -> FlowManager:
    settings = {"token": TOKEN, "journal": "memory", **core}
    return FlowManager(
        Settings(**settings),
        host=PluginHost(installed=False),
        backend=memory_provider(),
        transport=memory_transport_provider(MemoryNetwork()),
        frontends=[flows.provider],
        provider_settings={"socketio": own or SocketIOSettings()},
    )


def hosted(manager: FlowManager | None, *routes: BaseRoute) -> Starlette:
    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        if manager is None:
            yield
            return
        async with manager:
            yield

    return Starlette(routes=routes, lifespan=lifespan)


async def hello(_request: Any) -> PlainTextResponse:
    return PlainTextResponse("the host's own")


async def get(url: str) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as http, http.get(url) as response:
        json = response.content_type == "application/json"
        return response.status, await (response.json() if json else response.text())


@pytest.mark.parametrize("transports", [("polling",), ("websocket",), ("polling", "websocket")])
@pytest.mark.parametrize("prefix", ["", "/flows", "/a/b"])
async def test_clients_come_in_at_the_root_or_below_a_prefix(
    prefix: str, transports: Sequence[str]
) -> None:
    flows = MountedSocketIO()
    app = hosted(managed(flows), Route("/hello", hello), Mount(prefix or "/", flows))
    async with served(app, timeout_graceful_shutdown=1) as url:
        async with visiting(url, prefix, *transports) as guest:
            assert (await guest.ask("list_containers", {}))["count"] == 0
        assert await get(f"{url}/hello") == (200, "the host's own")
        status, told = await get(f"{url}{prefix}/health")
        assert (status, told["status"]) == (200, "healthy")


@pytest.mark.parametrize("stripped", [True, False])
async def test_clients_come_in_behind_a_proxy_whether_it_strips_its_prefix_or_not(
    stripped: bool,
) -> None:
    flows = MountedSocketIO()
    manager = managed(flows)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with manager:
            yield

    app = FastAPI(lifespan=lifespan)
    app.mount("/flows", flows)

    async def behind(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "root_path": "/api"}, receive, send)

    prefix = "/flows" if stripped else "/api/flows"
    async with served(behind) as url:
        async with visiting(url, prefix) as guest:
            assert (await guest.ask("list_containers", {}))["count"] == 0
        assert (await get(f"{url}{prefix}/health"))[0] == 200
        assert (await get(f"{url}{prefix}/nothing"))[0] == 404


async def test_path_that_only_begins_like_the_mount_point_is_the_hosts() -> None:
    flows = MountedSocketIO()
    app = hosted(managed(flows), Mount("/flows", flows), Route("/flowsocket.io", hello))
    async with served(app) as url:
        assert await get(f"{url}/flowsocket.io") == (200, "the host's own")


async def test_app_whose_manager_is_not_entered_says_what_to_do() -> None:
    flows = MountedSocketIO()
    managed(flows)
    async with served(hosted(None, Mount("/flows", flows))) as url:
        status, told = await get(f"{url}/flows/health")
        assert status == 503
        assert "is not entered" in told["message"]
        assert "enters the manager in its lifespan" in told["details"]["hint"]
        for transport in ("polling", "websocket"):
            with pytest.raises(Refused):
                async with visiting(url, "/flows", transport):
                    raise AssertionError("let in")


async def test_app_served_without_a_host_says_what_to_do() -> None:
    async with served(MountedSocketIO()) as url:
        status, told = await get(f"{url}/health")
    assert (status, "is not entered" in told["message"]) == (503, True)


async def test_app_where_its_provider_belongs_is_refused_in_a_line() -> None:
    flows: Any = MountedSocketIO()
    with pytest.raises(ConfigurationError, match="a FrontendProvider belongs here, not a Mounted"):
        async with FlowManager(host=PluginHost(installed=False), frontends=[flows]):
            raise AssertionError("it started")


async def test_manager_that_is_entered_already_cannot_be_entered() -> None:
    manager = managed(MountedSocketIO())
    async with manager:
        with pytest.raises(RuntimeError, match="entered already"):
            await manager.__aenter__()
        assert (await manager.health())["status"] == "healthy"


async def test_two_managers_cannot_share_one_mounted_app() -> None:
    flows = MountedSocketIO()
    async with managed(flows):
        with pytest.raises(ConfigurationError, match="serves another manager: each needs one"):
            async with managed(flows, instance="second"):
                raise AssertionError("it started")
        async with served(hosted(None, Mount("/", flows))) as url:
            assert (await get(f"{url}/health"))[0] == 200


def test_mounted_app_on_trio_is_refused_in_a_line() -> None:
    async def main() -> None:
        async with managed(MountedSocketIO()):
            raise AssertionError("it started")

    with pytest.raises(ConfigurationError, match="runs on asyncio alone"):
        trio.run(main)


async def test_token_of_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    flows = MountedSocketIO()
    manager = managed(flows, token="", token_file=str(tmp_path / "token"))
    async with served(hosted(manager, Mount("/", flows))) as url, visiting(url, "") as guest:
        assert (await guest.ask("list_containers", {}))["count"] == 0


@pytest.mark.parametrize("owner", [TOKEN * 2, ""])
async def test_an_embedder_s_tokens_count_with_their_roles(tmp_path: Path, owner: str) -> None:
    (tmp_path / "dash").write_text(f"{TOKEN}\n")
    flows = MountedSocketIO()
    manager = managed(flows, token=owner, tokens=(f"dash:read:{tmp_path}/dash",))
    async with served(hosted(manager, Mount("/", flows))) as url, visiting(url, "") as guest:
        assert (await guest.hears("connected"))["role"] == "read"
        refused = await guest.ask("create_container", {"image": "memory"})
        assert refused["details"]["required_role"] == "admin"
        assert (await guest.ask("list_containers", {}))["count"] == 0


@pytest.mark.parametrize(
    ("core", "told"),
    [
        ({"tokens": ("dash:read:/no/such/file",)}, "tokens: /no/such/file cannot be read"),
        ({"tokens": ("dash:boss:/x", "y")}, "entry 1: the role .*; tokens: entry 2: must be"),
        ({"token": "short", "host": "0.0.0.0"}, "token: .* shorter than 16 characters"),
    ],
)
async def test_an_embedder_s_tokens_that_cannot_be_are_refused(
    core: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigurationError, match=told):
        async with managed(MountedSocketIO(), **core):
            raise AssertionError("it started")


async def test_manager_without_a_token_is_refused_before_anybody_is_let_in() -> None:
    with pytest.raises(ConfigurationError, match="token: is empty"):
        async with managed(MountedSocketIO(), token=""):
            raise AssertionError("it started")


async def test_clients_hear_the_last_words_before_they_are_dismissed() -> None:
    flows = MountedSocketIO()
    manager = managed(flows)
    async with served(hosted(None, Mount("/", flows))) as url:
        await manager.__aenter__()
        async with visiting(url, "") as guest:
            await manager.__aexit__(None, None, None)
            await guest.hears("disconnected")
        assert guest.names()[-2:] == ["manager_stopping", "disconnected"]
        assert (await get(f"{url}/health"))[0] == 503


def test_app_of_a_module_can_be_served_again_in_another_event_loop() -> None:
    """As a test client does, which runs the lifespan anew for each test."""
    flows = MountedSocketIO()
    app = hosted(managed(flows), Mount("/flows", flows))

    async def main() -> None:
        async with served(app) as url, visiting(url, "/flows") as guest:
            assert (await guest.ask("list_containers", {}))["count"] == 0

    for _ in range(3):
        anyio.run(main)


@pytest.mark.parametrize(
    "error", [ValueError("mine"), KeyboardInterrupt(), ExceptionGroup("mine", [OSError()])]
)
async def test_hosts_own_exception_comes_out_as_it_is(error: BaseException) -> None:
    flows = MountedSocketIO()
    async with served(hosted(None, Mount("/", flows))) as url:
        with pytest.raises(type(error)) as caught:
            async with managed(flows), visiting(url, ""):
                raise error
    assert caught.value is error


async def test_host_can_cancel_what_it_does_with_a_client_connected() -> None:
    flows = MountedSocketIO()
    async with served(hosted(None, Mount("/", flows))) as url:
        with anyio.CancelScope() as scope:
            async with managed(flows):
                async with visiting(url, "") as guest:
                    scope.cancel()
                    await asyncio.sleep(60)
        assert scope.cancelled_caught
        assert guest.io.connected is False
