"""The examples' host apps under a real uvicorn, with real clients, and how they end."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from typing import Any

import aiohttp
import anyio
import pytest

from tests.embedding.guest import hosting, visiting
from tests.embedding.host import EXAMPLES, UNCLEAN

pytestmark = pytest.mark.anyio

#: What a user who presses Ctrl+C bears.
SOON = 3.0


@pytest.fixture(scope="module")
def anyio_backend(watched: Any) -> Any:
    """Socket.IO is asyncio's alone."""
    return watched("asyncio")


async def fetched(url: str) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as http, http.get(url) as response:
        return response.status, await response.json()


async def test_starlette_app_serves_its_own_routes_and_the_managers_clients() -> None:
    async with hosting("starlette_host") as host:
        async with visiting(host.url, "/flows") as guest:
            made = await guest.ask("create_container", {"image": "python", "name": "one"})
            assert made["status"] == "created"
            assert await guest.hears("container_created") == made
            assert await fetched(host.url) == (200, {"flows": 1})
            assert (await fetched(f"{host.url}/flows/health"))[0] == 200
            assert (await fetched(f"{host.url}/flows/nothing"))[0] == 404
            await guest.ask("delete_container", {"container_id": "one"})


async def test_fastapi_app_serves_its_own_routes_and_the_managers_clients() -> None:
    async with hosting("fastapi_host") as host:
        async with visiting(host.url, "/flows") as guest:
            await guest.ask("create_container", {"image": "python", "name": "one"})
            status, told = await fetched(f"{host.url}/status/one")
            assert (status, told["state"]) == (200, "created")
            assert (await fetched(f"{host.url}/status/two"))[0] == 404
            assert (await fetched(f"{host.url}/openapi.json"))[0] == 200
            assert (await fetched(f"{host.url}/flows/health"))[0] == 200
            await guest.ask("delete_container", {"container_id": "one"})


async def test_two_managers_in_one_app_know_nothing_of_each_other() -> None:
    async with hosting("two_managers") as host:
        async with visiting(host.url, "/blue") as blue, visiting(host.url, "/green") as green:
            await blue.ask("create_container", {"image": "python", "name": "one"})
            assert (await blue.ask("list_containers", {}))["count"] == 1
            assert (await green.ask("list_containers", {}))["count"] == 0
            answer = await green.ask("delete_container", {"container_id": "one"})
            assert answer["error_type"] == "container_not_found"
            await blue.ask("delete_container", {"container_id": "one"})
            assert "container_created" in blue.names()
            assert "container_created" not in green.names()
        await anyio.to_thread.run_sync(host.stop)
        host.assert_clean()


@pytest.mark.alone
@pytest.mark.parametrize("module", ["starlette_host", "fastapi_host"])
@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_host_ends_soon_and_cleanly_with_clients_connected(
    module: str, transport: str
) -> None:
    async with hosting(module, "--timeout-graceful-shutdown", "1") as host:
        async with visiting(host.url, "/flows", transport) as guest:
            took = await anyio.to_thread.run_sync(host.stop)
            await guest.hears("disconnected")
        assert took < SOON, host.output
        assert "Application shutdown complete" in host.output
        host.assert_clean()


async def test_second_worker_is_told_that_an_instance_lives_in_one_process() -> None:
    async with hosting("starlette_host", "--workers", "2") as host:
        with anyio.fail_after(30):
            while host.process.poll() is None:
                await anyio.sleep(0.05)
        assert "another manager of the instance 'my-app' runs" in host.output
        assert "a host app runs with one worker" in host.output


def test_trio_program_hears_events_and_asks_its_flow() -> None:
    home = tempfile.mkdtemp(prefix="fm-", dir="/tmp")
    try:
        done = subprocess.run(
            [sys.executable, "-X", "dev", EXAMPLES / "trio_host.py", home],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        shutil.rmtree(home)
    assert done.returncode == 0, done.stderr
    assert not [word for word in UNCLEAN if word in done.stderr], done.stderr
    assert {"socket_connected", "42"} <= set(done.stdout.splitlines())
