"""What only a real engine can show: pulls from a registry, and an engine that is not there."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.e2e.client import Client
from tests.e2e.service import Service

pytestmark = [pytest.mark.anyio, pytest.mark.docker]


async def test_a_pull_is_told_as_it_goes_and_every_failure_has_a_name(
    docker_engine: Any, docker_registry: Any, tmp_path: Path
) -> None:
    docker_registry.login(tmp_path)
    service = Service(tmp_path, "docker", "", docker_engine.url, DOCKER_CONFIG=str(tmp_path))
    await anyio.to_thread.run_sync(service.start)
    try:
        async with Client(service) as client:
            pull = {"pull": "missing", "command": ["/x"], "request_id": "pull-1"}
            made = await client.ask("create_container", image=docker_registry.image, **pull)
            assert made["status"] == "created"
            progress = [body for name, body in client.events if name == "image_pull_progress"]
            assert progress
            assert {body["image"] for body in progress} == {docker_registry.image}
            assert {body["request_id"] for body in progress} == {"pull-1"}
            await client.ask("delete_container", container_id=client._made.pop())

            unknown = docker_registry.image + "-unknown"
            answer = await client.ask("create_container", image=unknown, pull="always")
            assert answer["error_type"] == "image_not_found"
            nobody = "127.0.0.1:1/nobody:1"
            answer = await client.ask("create_container", image=nobody, pull="missing")
            assert answer["error_type"] == "docker_api_error"
            docker_registry.login(tmp_path, password="wrong-password")
            answer = await client.ask(
                "create_container", image=docker_registry.image, pull="always"
            )
            assert answer["error_type"] == "image_not_found"
            assert "wrong-password" not in str(answer)
            assert docker_registry.password not in "\n".join(service.lines)
    finally:
        await anyio.to_thread.run_sync(service.__exit__, None, None, None)
        with docker_engine.client() as sdk:
            sdk.remove_image(docker_registry.image)


async def test_an_engine_that_is_not_there_is_named_and_the_service_stays_up(
    tmp_path: Path,
) -> None:
    def health() -> tuple[int, Any]:
        try:
            with urllib.request.urlopen(service.url + "/health", timeout=10) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    service = Service(tmp_path, "docker", "any", f"unix://{tmp_path}/nobody.sock")
    await anyio.to_thread.run_sync(service.start)
    try:
        status, body = await anyio.to_thread.run_sync(health)
        assert (status, body["status"]) == (503, "degraded")
        async with Client(service) as client:
            with anyio.fail_after(10):
                answer = await client.ask("create_container", image="any", command=["x"])
            assert answer["error_type"] == "docker_api_error"
            assert answer["details"]["retryable"] is True
            assert "Docker" in answer["details"]["hint"]
            answer = await client.ask("list_containers")
            assert answer["error_type"] == "docker_api_error"
    finally:
        await anyio.to_thread.run_sync(service.__exit__, None, None, None)
