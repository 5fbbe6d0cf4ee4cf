"""No secret in any log, event, answer, error or file: canaries at all places, searched for in all.

Two lives of the real service on each backend, with both log formats, both error formats, both
transports and both frontends, at INFO and at DEBUG.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from anyio import to_thread

from plugins.rabbitmq.tests.amqp_client import amqp_client
from tests.e2e.client import Client
from tests.e2e.conftest import FLOWS
from tests.e2e.service import Service
from tests.security.canaries import Canary
from tests.security.hostile import HOSTILE, sound_lines
from tests.security.misdeeds import (
    a_crash_with_the_value_in_its_output,
    a_flow_with_a_secret,
    failed_creates,
    malformed_environments,
    wrong_tokens,
)
from tests.security.stage import SecretService, Stage
from tests.support.engine import DockerEngine
from tests.support.rabbitmq import RabbitMQ
from tests.support.registry import DockerRegistry

#: What may stand in a message's type and in the name of the queue that waits for its answer.
ROUTING_KEYS = [text for name, text in HOSTILE.items() if len(text) < 100 and "half" not in name]

pytestmark = pytest.mark.anyio

FIRST = {"LOG_LEVEL": "INFO", "LOG_FORMAT": "json", "FLOW_MANAGER_ERROR_FORMAT": "problem"}
SECOND = {"LOG_LEVEL": "DEBUG", "LOG_FORMAT": "console", "FLOW_MANAGER_ERROR_FORMAT": "standard"}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """The Socket.IO client is asyncio's."""
    return "asyncio"


def staged(service: Service, engine: DockerEngine | None) -> Iterator[Stage]:
    made = Stage(service, engine)
    shutil.copytree(FLOWS, service.root / "code", ignore=shutil.ignore_patterns("__pycache__"))
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def on_processes(tmp_path: Path) -> Iterator[Stage]:
    yield from staged(SecretService(tmp_path, "process", "python", ""), None)


@pytest.fixture
def on_docker(docker_engine: DockerEngine, flow_image: str, tmp_path: Path) -> Iterator[Stage]:
    service = SecretService(tmp_path, "docker", flow_image, docker_engine.url)
    yield from staged(service, docker_engine)


async def begin(stage: Stage, **environ: str) -> None:
    """Begin a life of the service."""
    await to_thread.run_sync(lambda: stage.live(**environ))


async def first_deeds(stage: Stage) -> None:
    """What is done in the first life."""
    async with Client(stage.service) as client:
        await a_flow_with_a_secret(stage, client, stage.service.root / "code")
        await failed_creates(stage, client)
        await malformed_environments(stage, client)
        await a_crash_with_the_value_in_its_output(stage, client)
        await client.ask("get_container_logs", container_id="speaker")
        await wrong_tokens(stage)
        client._made.clear()
        stage.keep("client", *client.events)


async def second_deeds(stage: Stage) -> None:
    """What is done in the second life, which found the first one's containers."""
    async with Client(stage.service) as client:
        await client.event("socket_connected")
        await failed_creates(stage, client)
        await malformed_environments(stage, client)
        await wrong_tokens(stage)
        for request in ("get_container_status", "restart_container", "stop_container"):
            await client.ask(request, container_id="holder")
        await client.ask("list_containers")
        await to_thread.run_sync(stage.look)
        stage.keep("client", *client.events)


async def goodbye(stage: Stage) -> None:
    """Delete what was made; nothing of it stays on the disk."""
    async with Client(stage.service) as client:
        for name in ("holder", "speaker"):
            await client.ask("delete_container", container_id=name)


def refusals(stage: Stage) -> list[tuple[list[str], dict[str, str]]]:
    """Commands that show settings, and starts that are refused for them."""
    secret = stage.add(Canary.fresh("setting that is not well formed", "file:wrong/*")).value
    wrong = {
        "type.toml": f'token = ["{secret}"]\n[rabbitmq]\nurl = ["amqp://u:{secret}@h/"]\n',
        "text.toml": f"token = {secret}\n",
        "key.toml": f'[rabbitmq]\nurl = "amqp//user:{secret}@host/"\nuser = "{secret}"\n',
        "json.json": json.dumps({"token": {"value": secret}}) + secret,
    }
    found = [
        (["config", "--config", stage.file(f"wrong/{name}", text)], {"FLOW_MANAGER_TOKEN": ""})
        for name, text in wrong.items()
    ]
    file = stage.file("wrong/pem", f"-----BEGIN PRIVATE KEY-----\n{secret}\n")
    serve = ["serve", "--port", "0", "--set", "log_file=off"]
    found.append(([*serve, "--set", f"tls_certificate={file}", "--set", f"tls_key={file}"], {}))
    found.append((["serve", "--set", f"wrong amqp://u:{secret}@h/"], {}))
    return [*found, (["config"], {}), (["config", "--json"], {}), (["plugins", "--json"], {})]


KEPT = ("file:state/process/*/container.json", "file:state/process/*/output.log")
#: What a crash is told with: the last lines of the output. It outlasts the container.
JOURNAL = "file:state/instances/*/journal.sqlite*"


async def test_no_secret_of_a_process_is_told_or_kept_elsewhere(on_processes: Stage) -> None:
    stage = on_processes
    await begin(stage, **FIRST, FLOW_MANAGER_TOKEN="")
    made = (stage.service._home / "state" / "token").read_text().strip()
    stage.add(Canary("token that was made", made, ("file:state/token", "greeting:1:*")))
    stage.service.token = made
    await first_deeds(stage)
    await to_thread.run_sync(stage.die)
    stage.service.token = stage["token of the environment"]
    await begin(stage, **SECOND, FLOW_MANAGER_TOKEN=stage.service.token)
    await second_deeds(stage)
    await to_thread.run_sync(stage.run, *refusals(stage))
    stage.canaries["variable"].homes += KEPT[:1]
    stage.canaries["spoken by a flow"].homes += (*KEPT, JOURNAL, "client:container_logs:*")
    await to_thread.run_sync(stage.check)
    await goodbye(stage)
    await to_thread.run_sync(stage.die)
    leaks = await to_thread.run_sync(stage.leaks)
    assert not [leak for leak in leaks if leak.startswith("variable in file:state/")]
    spoken = [leak for leak in leaks if leak.startswith("spoken by a flow in file:state/")]
    assert [leak for leak in spoken if "/journal.sqlite" not in leak] == []


@pytest.mark.docker
async def test_no_secret_of_a_container_is_told_or_kept_elsewhere(
    on_docker: Stage, docker_registry: DockerRegistry, rabbitmq: RabbitMQ
) -> None:
    stage, engine, service = on_docker, docker_registry, on_docker.service
    login = service.root / "login"
    login.mkdir()
    wrong = stage.add(Canary.fresh("wrong password of a registry", "file:login/config.json"))
    engine.login(login, wrong.value)
    assert stage.engine
    gateway = await to_thread.run_sync(stage.engine.gateway)
    token = stage.add(Canary.fresh("token of a file", "file:token-file"))
    stage.add(Canary("password of RabbitMQ", rabbitmq.password, ("environ:manager",)))
    service.token = token.value
    await begin(
        stage,
        **FIRST,
        FLOW_MANAGER_TOKEN="",
        FLOW_MANAGER_TOKEN_FILE=stage.file("token-file", token.value),
        FLOW_MANAGER_TRANSPORT="tcp",
        FLOW_MANAGER_TCP_PORT="0",
        FLOW_MANAGER_TCP_HOST=gateway,
        FLOW_MANAGER_FRONTENDS="socketio,rabbitmq",
        FLOW_MANAGER_RABBITMQ_URL=rabbitmq.url,
        DOCKER_CONFIG=str(login),
    )
    await first_deeds(stage)
    await pulls(stage, docker_registry, "is refused")
    kept = f"state/instances/{service.instance}/tcp/holder.secret"
    secret = (service._home / kept).read_text().strip()
    homes = (f"file:{kept}", "environ:flow", "variables:holder")
    stage.add(Canary("secret of a flow's channel", secret, homes))
    await to_thread.run_sync(stage.die)
    docker_registry.login(login)
    homes = ("file:login/config.json",)
    stage.add(Canary("password of a registry", docker_registry.password, homes))
    wrong.homes = ()
    service.token = stage["token of the environment"]
    await begin(stage, **SECOND, FLOW_MANAGER_TOKEN=service.token, FLOW_MANAGER_TOKEN_FILE="")
    await second_deeds(stage)
    await pulls(stage, docker_registry, "is let in")
    await over_rabbitmq(stage, rabbitmq)
    await to_thread.run_sync(stage.run, *refusals(stage))
    stage.canaries["variable"].homes += ("variables:*",)
    stage.canaries["spoken by a flow"].homes += (
        *("variables:*", JOURNAL, "client:container_logs:*"),
    )
    await to_thread.run_sync(stage.die)
    await to_thread.run_sync(stage.check)
    lines = (service.root / "flow-manager.log").read_text().splitlines(keepends=True)
    for log_format, mark in (("json", "{"), ("console", "[")):
        assert sound_lines("".join(line for line in lines if line[0] == mark), log_format)
    assert {line[0] for line in lines} == {"{", "["}
    assert len([line for line in lines if "Nobody waits for an answer" in line]) == len(
        ROUTING_KEYS
    )


async def pulls(stage: Stage, registry: DockerRegistry, outcome: str) -> None:
    """Make a container of an image that has to be fetched with a password."""
    async with Client(stage.service) as client:
        told = await client.ask("create_container", image=registry.image, pull="always")
        # There is nothing to run in the image; what counts is that it came, or did not.
        refused = told.get("error_type") == "image_not_found"
        assert refused == (outcome == "is refused"), told
        assert bool(client.told("image_pull_progress")) != refused
        stage.keep("client", *client.events)


async def over_rabbitmq(stage: Stage, broker: RabbitMQ) -> None:
    """The same requests through the broker, and commands that are none."""
    secret = stage["variable that is not well formed"]
    async with amqp_client(broker.url, stage.service.instance) as client:
        for environment in ({f"PASSWORD={secret}": ""}, {"PASSWORD": [secret]}, [secret]):
            payload = {"image": stage.service.image, "environment": environment}
            name, _ = await client.request("create_container", payload)
            assert name == "error"
        for body in (secret, f'{{"image": "{secret}', f'["{secret}"]', f'{{"{secret}": 1}}'):
            answer = await client.command("create_container", body.encode())
            assert answer.type == "error"
        for text in ROUTING_KEYS:
            await client.send(text, b"{}", reply_to=text, correlation_id=text)
        answer = await client.command("list_containers", b"{}")
        assert answer.type == "container_list"
        told = [(str(each.type), each.body.decode()) for each in (*client.answered, *client.heard)]
        stage.keep("rabbitmq", *told)
