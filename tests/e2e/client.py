"""A client written from the contract alone."""

from __future__ import annotations

from typing import Any

import anyio
import socketio

from tests.e2e.service import Service

PATIENCE = 20.0

RESPONSES = {
    "create_container": "container_created",
    "start_container": "container_started",
    "stop_container": "container_stopped",
    "restart_container": "container_restarted",
    "update_container": "container_updated",
    "delete_container": "container_deleted",
    "send_message": "message_sent",
    "get_message": "message_status",
    "list_undeliverable": "undeliverable_list",
    "delete_undeliverable": "undeliverable_deleted",
    "resend_undeliverable": "undeliverable_resent",
    "get_container_status": "container_status",
    "list_containers": "container_list",
    "get_container_logs": "container_logs",
    "backup_container": "container_backed_up",
    "restore_container": "container_restored",
    "verify_backup": "backup_verified",
    "get_resource_thresholds": "resource_thresholds",
    "set_resource_thresholds": "resource_thresholds_updated",
    "enable_resource_monitoring": "resource_monitoring_enabled",
    "disable_resource_monitoring": "resource_monitoring_disabled",
    "get_resource_usage_history": "resource_usage_history",
    "set_health_check_config": "health_check_config",
    "get_health_check_config": "health_check_config",
    "set_default_health_config": "default_health_config",
    "get_default_health_config": "default_health_config",
    "get_health_status_history": "health_status_history",
    "get_activity_log": "activity_log_page",
    "get_operation": "operation",
}


class Client:
    """Records everything it is told, in order."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.events: list[tuple[str, Any]] = []
        self.io = socketio.AsyncClient(reconnection=False)
        self.io.on("*", self._record)
        self._made: list[str] = []

    async def __aenter__(self) -> Client:
        await self.io.connect(self.service.url, auth={"token": self.service.token})
        await self.event("connected")
        return self

    async def __aexit__(self, *_: object) -> None:
        for container_id in self._made:
            await self.ask("delete_container", container_id=container_id)
        await self.io.disconnect()

    async def _record(self, name: str, body: Any = None) -> None:
        self.events.append((name, body))

    async def ask(self, request: str, /, **payload: Any) -> dict[str, Any]:
        """Send a request; check that response event and acknowledgement are one."""
        return await self.ask_raw(request, payload)

    async def ask_raw(self, name: str, payload: Any) -> dict[str, Any]:
        """Send any payload as a request."""
        before = len(self.events)
        answer: dict[str, Any] = await self.io.call(name, payload, timeout=60)
        expected = "error" if answer.get("error") else RESPONSES[name]
        told = await self.event(expected, since=before, same=answer)
        assert told == answer
        if name in ("create_container", "restore_container") and not answer.get("error"):
            self._made.append(answer["container_id"])
        return answer

    async def create(self, **payload: Any) -> str:
        """Create a container of the test's flow; return its id."""
        defaults = {
            "image": self.service.image,
            "command": self.service.command("flow.py"),
            "stop_timeout": 2,
        }
        answer = await self.ask("create_container", **{**defaults, **payload})
        assert not answer.get("error"), answer
        return str(answer["container_id"])

    async def running(self, **payload: Any) -> str:
        """Create and start a container, and wait for its channel."""
        container_id = await self.create(start=True, **payload)
        await self.event("socket_connected", container_id=container_id)
        return container_id

    async def say(self, container_id: str, command: str, data: Any = None) -> dict[str, Any]:
        """Send a message that needs no answer."""
        message = {"command": command, "data": data}
        return await self.ask("send_message", container_id=container_id, message=message)

    async def question(self, container_id: str, command: str, data: Any = None) -> Any:
        """Send a question and return the answer's data."""
        message = {"command": command, "data": data}
        answer = await self.ask(
            "send_message", container_id=container_id, message=message, reply=True, timeout=10
        )
        assert not answer.get("error"), answer
        return answer["reply"]["data"]

    async def event(
        self, name: str, *, since: int = 0, same: Any = None, **fields: Any
    ) -> dict[str, Any]:
        """Wait for an event that carries certain fields; return its body."""
        with anyio.move_on_after(PATIENCE):
            while True:
                for told, body in self.events[since:]:
                    wanted = told == name and (same is None or body == same)
                    if wanted and all(body.get(k) == v for k, v in fields.items()):
                        return dict(body)
                await anyio.sleep(0.005)
        raise AssertionError(f"no {name} {fields} among {self.events[since:]}")

    def told(self, *names: str) -> list[str]:
        """The names of the events so far, of these kinds, in order."""
        return [name for name, _ in self.events if name in names]

    def moves(self, container_id: str) -> list[tuple[str, str]]:
        """The status changes of a container, in order."""
        return [
            (body["old_state"], body["new_state"])
            for name, body in self.events
            if name == "status_changed" and body["container_id"] == container_id
        ]
