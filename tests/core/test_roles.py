"""Each operation is carried out for the roles that cover it, and for no other."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from flow_manager_core import FlowManager, PluginHost, Settings
from flow_manager_core.events import ActivityLogged
from flow_manager_core.models import Answer, Client, Role
from flow_manager_core.operations.table import OPERATIONS
from flow_manager_core.requests import ContainerRequest
from flow_manager_core.testing.memory_backend import SCRIPTED, MemoryEngine, memory_provider
from flow_manager_core.testing.memory_transport import MemoryNetwork, memory_transport_provider

pytestmark = pytest.mark.anyio

#: What README and pages promise; a new operation must be given its role here as well.
NEEDED = {
    "list_containers": Role.READ,
    "get_container_status": Role.READ,
    "get_container_logs": Role.READ,
    "unfollow_container_logs": Role.READ,
    "subscribe": Role.READ,
    "unsubscribe": Role.READ,
    "get_resource_thresholds": Role.READ,
    "get_resource_usage_history": Role.READ,
    "get_health_check_config": Role.READ,
    "get_default_health_config": Role.READ,
    "get_health_status_history": Role.READ,
    "get_message": Role.READ,
    "list_undeliverable": Role.READ,
    "delete_undeliverable": Role.OPERATE,
    "resend_undeliverable": Role.OPERATE,
    "get_activity_log": Role.READ,
    "get_operation": Role.READ,
    "start_container": Role.OPERATE,
    "stop_container": Role.OPERATE,
    "restart_container": Role.OPERATE,
    "send_message": Role.OPERATE,
    "create_container": Role.ADMIN,
    "update_container": Role.ADMIN,
    "delete_container": Role.ADMIN,
    "backup_container": Role.ADMIN,
    "restore_container": Role.ADMIN,
    "verify_backup": Role.OPERATE,
    "set_resource_thresholds": Role.ADMIN,
    "enable_resource_monitoring": Role.ADMIN,
    "disable_resource_monitoring": Role.ADMIN,
    "set_health_check_config": Role.ADMIN,
    "set_default_health_config": Role.ADMIN,
    "get_log_level": Role.ADMIN,
    "set_log_level": Role.ADMIN,
}
MATRIX = [(name, role) for name in OPERATIONS for role in Role]
#: Who needs more than one container and its name.
MORE: dict[str, dict[str, Any]] = {
    "create_container": {"image": "memory"},
    "update_container": {"code_path": "."},
    "send_message": {"message": {"command": "hello"}},
    "get_message": {"message_id": "none-1"},
    "delete_undeliverable": {"message_id": "none-1"},
    "resend_undeliverable": {"message_id": "none-1"},
    "backup_container": {"path": "flow.tar"},
    "restore_container": {"path": "flow.tar", "name": "restored"},
    "verify_backup": {"path": "flow.tar"},
    "unfollow_container_logs": {"follow_id": "none"},
    "get_operation": {"request_id": "none"},
    "set_resource_thresholds": {"thresholds": {"memory_percent": 80}},
    "set_health_check_config": {"config": {"check_type": "tcp", "port": 80, "interval": 3600}},
    "set_default_health_config": {"config": None},
    "set_log_level": {"level": "INFO"},
}
#: Who is refused for another reason, which shows that the role was enough.
LATER = {
    "send_message": "socket_connection_error",  # the flow has no channel
    "unfollow_container_logs": "validation_error",  # nobody follows
    "get_message": "validation_error",  # there is none
    "delete_undeliverable": "validation_error",
    "resend_undeliverable": "validation_error",
    "get_operation": "validation_error",  # nobody has asked for anything with this id
    "subscribe": "validation_error",  # these clients have no feed of their own
    "unsubscribe": "validation_error",
}


class House:
    """A manager in memory with one container, and its clients."""

    def __init__(self, manager: FlowManager, engine: MemoryEngine, code: Path) -> None:
        self.manager = manager
        self.engine = engine
        self._code = code

    async def ask(self, request: str, role: Role, /, **payload: Any) -> Answer:
        return await self.manager.session(Client("test", "1", "ci", role)).answer(request, payload)

    def payload(self, name: str, container: str = "flow") -> dict[str, Any]:
        """A request of this kind that is well formed."""
        more = dict(MORE.get(name, {}))
        if "code_path" in more:
            more["code_path"] = str(self._code)
        if issubclass(OPERATIONS[name].request, ContainerRequest):
            return {"container_id": container, **more}
        return more

    def seen(self) -> dict[str, str]:
        """What the engine has, and what each does."""
        boxes = [box for own in self.engine.boxes.values() for box in own.values()]
        return {box.seen.name: f"{box.seen.state} {box.seen.started_at}" for box in boxes}


@asynccontextmanager
async def house(folder: Path) -> AsyncIterator[House]:
    (folder / "main").write_text("code")
    settings = Settings(
        journal="memory",
        volume_roots=(folder,),
        backup_dir=str(folder.with_name(f"{folder.name}-backups")),
        recovery="none",
        proof_of_life=0.05,
    )
    async with MemoryEngine(SCRIPTED).opened() as engine:
        manager = FlowManager(
            settings,
            host=PluginHost(installed=False),
            backend=memory_provider(engine),
            transport=memory_transport_provider(MemoryNetwork()),
        )
        async with manager:
            made = {"image": "memory", "name": "flow", "start": True, "code_path": str(folder)}
            await manager.execute("create_container", made)
            yield House(manager, engine, folder)


def test_every_operation_has_the_role_that_is_promised() -> None:
    assert {name: operation.role for name, operation in OPERATIONS.items()} == NEEDED


def test_whatever_changes_something_needs_more_than_to_read() -> None:
    changing = {name for name, operation in OPERATIONS.items() if operation.verb is not None}
    assert not [name for name in changing if Role.READ.covers(OPERATIONS[name].role)]


async def test_each_operation_is_carried_out_for_the_roles_that_cover_it_alone(
    tmp_path: Path,
) -> None:
    async with house(tmp_path) as h:
        for name, role in sorted(MATRIX, key=lambda pair: pair[0] == "delete_container"):
            before = h.seen()
            answer = await h.ask(name, role, **h.payload(name))
            if role.covers(NEEDED[name]):
                assert answer.body.get("error_type") == LATER.get(name), answer.body
                assert "needs the role" not in str(answer.body)
                continue
            details = answer.body["details"]
            assert answer.body["error_type"] == "validation_error"
            assert details["errors"] == [
                {
                    "field": "operation",
                    "message": f"needs the role {NEEDED[name]}; this token has {role}",
                }
            ]
            assert details["required_role"] == NEEDED[name]
            assert details["retryable"] is False
            assert NEEDED[name] in details["hint"]
            assert h.seen() == before


@pytest.mark.parametrize("name", [n for n, role in NEEDED.items() if role is not Role.READ])
async def test_a_refusal_tells_nothing_of_the_container(name: str, tmp_path: Path) -> None:
    async with house(tmp_path) as h:

        async def refusal(**payload: Any) -> dict[str, Any]:
            body = dict((await h.ask(name, Role.READ, **payload)).body)
            named = body["details"].pop("container_id", None)
            assert named == payload.get("container_id")
            return {key: value for key, value in body.items() if key != "timestamp"}

        there = await refusal(**h.payload(name))
        assert there == await refusal(**h.payload(name, "nobody"))
        assert there == await refusal(container_id="../x", nonsense=1)
        h.engine.away = True
        assert there == await refusal(**h.payload(name))
        h.engine.away = False


async def test_the_host_application_may_do_everything(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        for name in ("stop_container", "delete_container"):
            await h.manager.execute(name, {"container_id": "flow"})
        assert h.seen() == {}


async def test_log_and_feed_say_who_did_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "flow_manager")
    async with house(tmp_path) as h, h.manager.subscribe() as events:
        assert "Container operation: create" in caplog.text
        assert "by=" not in caplog.text  # the host application itself
        await h.ask("stop_container", Role.OPERATE, container_id="flow")
        await h.ask("delete_container", Role.OPERATE, container_id="flow")
        session = h.manager.session(Client("mine", "1"))
        assert (await session.answer("start_container", {"container_id": "flow"})).ok
        told: list[ActivityLogged] = []
        with anyio.fail_after(10):
            async for event in events:
                if isinstance(event, ActivityLogged):
                    told.append(event)
                if told and told[-1].activity_type == "container_started":
                    break
    lines = [record.getMessage() for record in caplog.records]
    assert any("operation: stop" in line and line.endswith("by=ci") for line in lines)
    assert any("Operation: delete" in line and line.endswith("by=ci") for line in lines)
    assert any("operation: start" in line and line.endswith("by=mine") for line in lines)
    done = {event.activity_type: event.details.get("by") for event in told}
    assert done["container_stopped"] == "ci"
    assert done["container_started"] == "mine"
