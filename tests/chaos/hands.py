"""Does the plan's steps to one flow, and writes down what is to be expected of them."""

from __future__ import annotations

import math
import os
import signal
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import docker
from anyio import to_thread

from tests.chaos import outside
from tests.chaos.actors import Actor, Lost
from tests.chaos.crashes import Caused, Crashes
from tests.chaos.model import DOWN, GONE, RESTART, UP, Flow
from tests.chaos.outside import Seen
from tests.chaos.plan import Action, Step, Trouble
from tests.chaos.world import ENGINE, World

#: Seconds that a program which was told to exit gets to do so.
LEAVES = 3.0
#: Seconds before and after a trouble in which what it disturbs may look disturbed.
BLUR = 1.5
#: Seconds in which the manager surely has seen that a program ended, or a container went.
NOTICED = 1.0
AWAY = (*ENGINE, Trouble.ENGINE_FREEZE)

#: Requests that end a run.
ENDING = ("stop_container", "restart_container", "update_container", "delete_container")
#: How a message may fail: nobody is there, or nobody answers.
UNHEARD = {"socket_connection_error", "socket_timeout_error", "socket_error"}


class Hand:
    """What is done to one flow.

    Args:
        code: the folder of each version of a flow's code.
        complain: takes what must not be.
    """

    def __init__(
        self,
        flow: Flow,
        world: World,
        crashes: Crashes,
        code: Callable[[int, bool], str],
        complain: Callable[[str], None],
    ) -> None:
        self.flow = flow
        self._world = world
        self._crashes = crashes
        self._code = code
        self._complain = complain
        self._ended: set[int] = set()
        self._ended_at = 0.0
        self._ended_container = ""
        self._removed_at = -NOTICED
        self._deeds: Mapping[Action, Callable[[Actor, int], Awaitable[None]]] = {
            Action.CREATE: self._create,
            Action.START: self._start,
            Action.STOP: self._stop,
            Action.RESTART: self._restart,
            Action.UPDATE: self._update,
            Action.DELETE: self._delete,
            Action.MESSAGE: self._message,
            Action.STATUS: self._status,
            Action.KILL: self._kill,
            Action.EXIT: self._exit,
            Action.STOP_OUTSIDE: self._stop_outside,
            Action.REMOVE_OUTSIDE: self._remove_outside,
            Action.REMOVE_SOCKET: self._remove_socket,
        }

    async def do(self, step: Step, actor: Actor) -> None:
        """Do one step."""
        await self._deeds[step.action](actor, step.number)

    async def _ask(
        self, actor: Actor, request: str, wish: str | None, **payload: Any
    ) -> dict[str, Any] | None:
        """Ask for a change; return the answer if it is certain that it is so."""
        began = time.monotonic()
        if request in ENDING:
            self._crashes.overtaken(self._ended_container, NOTICED)
        try:
            answer = await actor.ask(request, **payload)
        except Lost:
            answer = {"error": True, "error_type": "lost", "details": {"retryable": True}}
        if not answer.get("error"):
            return answer
        if answer["error_type"] == "container_not_found":
            if not self.flow.missing():
                self._complain(f"{self.flow.name} is not found, but is {self.flow.wishes}")
        elif self._unnoticed(answer, began):
            pass
        elif answer["details"]["retryable"] or self._troubled(began):
            if wish is not None:
                self.flow.doubtful(wish)
        else:
            self._complain(f"{request} of {self.flow.name} failed: {answer}")
        return None

    def _unnoticed(self, answer: dict[str, Any], began: float) -> bool:
        """Whether the manager could not know yet that the name's owner was removed."""
        just_removed = began - self._removed_at < NOTICED
        return just_removed and "already in use" in answer.get("message", "")

    def _troubled(self, since: float) -> bool:
        return self._world.troubled(*Trouble, since=since, slack=BLUR)

    async def _create(self, actor: Actor, version: int) -> None:
        flow = self.flow
        if flow.pending is None and flow.wishes != {GONE}:
            return
        payload = flow.pending or {
            "name": flow.name,
            "image": self._world.manager.image,
            "command": self._world.manager.command("flow.py"),
            "code_path": self._code(version, flow.deaf),
            "start": True,
            "stop_timeout": 1,
            "restart": {**RESTART, "policy": flow.policy},
            "request_id": uuid.uuid4().hex,
        }
        version = int(Path(payload["code_path"]).name.split("-")[1])
        flow.pending = payload
        if await self._ask(actor, "create_container", UP, **payload):
            flow.made(version)
        elif flow.wishes == {GONE}:
            flow.pending = None
        else:
            flow.versions = flow.versions | {version}

    async def _start(self, actor: Actor, _: int) -> None:
        if await self._ask(actor, "start_container", UP, container_id=self.flow.name):
            self.flow.acknowledged(UP)

    async def _stop(self, actor: Actor, _: int) -> None:
        if await self._ask(actor, "stop_container", DOWN, container_id=self.flow.name):
            self.flow.acknowledged(DOWN)

    async def _restart(self, actor: Actor, _: int) -> None:
        if await self._ask(actor, "restart_container", UP, container_id=self.flow.name):
            self.flow.acknowledged(UP)

    async def _update(self, actor: Actor, version: int) -> None:
        flow, before = self.flow, set(self.flow.versions)
        payload = {"container_id": flow.name, "code_path": self._code(version, flow.deaf)}
        just_ended = time.monotonic() - self._ended_at < NOTICED
        if await self._ask(actor, "update_container", None, **payload):
            flow.versions = {version}
            if just_ended:  # the engine may have shown it running, which the new code then does
                flow.doubtful(UP)
        elif flow.wishes != {GONE}:
            flow.versions, flow.in_doubt = before | {version}, True

    async def _delete(self, actor: Actor, _: int) -> None:
        if await self._ask(actor, "delete_container", GONE, container_id=self.flow.name):
            self.flow.acknowledged(GONE)

    async def _status(self, actor: Actor, _: int) -> None:
        await self._ask(actor, "get_container_status", None, container_id=self.flow.name)

    async def _message(self, actor: Actor, _: int) -> None:
        message = {"command": "info"}
        with suppress(Lost):
            answer = await actor.ask(
                "send_message",
                container_id=self.flow.name,
                message=message,
                reply=True,
                timeout=2,
            )
            if not answer.get("error"):
                self._check_version(answer["reply"]["data"]["version"])
            elif answer["error_type"] == "container_not_found":
                if not self.flow.missing():
                    self._complain(f"{self.flow.name} is not found, but is {self.flow.wishes}")
            elif answer["error_type"] not in UNHEARD and not answer["details"]["retryable"]:
                self._complain(f"a message to {self.flow.name} failed: {answer}")

    def _check_version(self, version: int) -> None:
        if version not in self.flow.versions:
            self._complain(f"{self.flow.name} has version {version}, expected {self.flow.versions}")

    async def _seen(self) -> Seen | None:
        """The flow's container, as the engine has it; ``None`` where it cannot be asked."""
        if not self._world.engine_whole:
            return None
        try:
            found = await to_thread.run_sync(outside.named, self._world.manager, self.flow.name)
        except (docker.errors.DockerException, OSError):
            return None
        return found

    async def _kill(self, _: Actor, __: int) -> None:
        seen = await self._running()
        if seen is None:
            return
        began = time.monotonic()
        certain = self.flow.wishes == {UP}
        with suppress(ProcessLookupError):
            os.kill(seen.pid, signal.SIGKILL)
        await to_thread.run_sync(_gone, seen.pid)
        self._crashed(seen, began, None, certain)

    async def _exit(self, actor: Actor, code: int) -> None:
        seen = await self._running()
        if seen is None:
            return
        began = time.monotonic()
        message = {"command": "exit", "data": code}
        try:
            answer = await actor.ask("send_message", container_id=self.flow.name, message=message)
        except Lost:
            answer = {}
        left = await to_thread.run_sync(_gone, seen.pid)
        if not left:
            if not answer.get("error") and not self._troubled(began):
                self._complain(f"{self.flow.name} was told to exit, and does not")
            return
        # It may have ended for another reason, if the message did not reach it.
        certain = self.flow.wishes == {UP} and not answer.get("error", True)
        self._crashed(seen, began, code, certain)

    def _crashed(self, seen: Seen, began: float, code: int | None, certain: bool) -> None:
        """Take note of an end that was caused just now."""
        first = seen.pid not in self._ended
        self._ended.add(seen.pid)
        self._ended_at = time.monotonic()
        self._ended_container = seen.short_id
        if code != 0:
            certain = certain and first
            self._crashes.cause(
                Caused(seen.short_id, began, time.monotonic(), code is None, certain)
            )
        doubtful = set(self.flow.wishes) if self._troubled(began) else set()
        self.flow.ended(code)
        self.flow.wishes |= doubtful

    async def _running(self) -> Seen | None:
        seen = await self._seen()
        return seen if seen is not None and seen.pid and _alive(seen.pid) else None

    async def _stop_outside(self, _: Actor, __: int) -> None:
        await self._by_engine(DOWN, lambda client, key: client.stop(key, timeout=1))

    async def _remove_outside(self, _: Actor, __: int) -> None:
        # What is gone before anybody looked at its end has none to tell of.
        unseen = self._world.troubled(*Trouble, since=self._ended_at)
        self._crashes.overtaken(self._ended_container, math.inf if unseen else NOTICED)
        await self._by_engine(GONE, outside.remove)
        self._removed_at = time.monotonic()

    async def _by_engine(self, wish: str, deed: Callable[[Any, str], None]) -> None:
        """Let the engine do something that the manager did not ask for."""
        seen = await self._seen()
        if seen is None or (wish == DOWN and not seen.pid):
            return
        began = time.monotonic()
        if wish == GONE and seen.pid:
            self._crashes.force(seen.short_id)
        try:
            await to_thread.run_sync(outside.by_engine, self._world.manager, seen.id, deed)
        except (docker.errors.DockerException, OSError):
            self.flow.doubtful(wish)
            return
        finally:
            if wish == DOWN:
                ended = time.monotonic()
                self._crashes.cause(Caused(seen.short_id, began, ended, True, False, asked=True))
        if self._world.troubled(*AWAY, since=began, slack=BLUR):
            self.flow.doubtful(wish)
        elif self.flow.certain or wish == GONE:
            self.flow.acknowledged(wish)
        else:
            self.flow.doubtful(wish)

    async def _remove_socket(self, _: Actor, __: int) -> None:
        folder = self._world.manager.socket_dir
        for path in (folder / f"{self.flow.name}.sock", folder / f"{self.flow.name}.d/flow.sock"):
            path.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def _gone(pid: int) -> bool:
    """Wait for a process to end; tell whether it did."""
    end = time.monotonic() + LEAVES
    while _alive(pid) and time.monotonic() < end:
        time.sleep(0.005)
    return not _alive(pid)
