"""The ways to ask a container how it is: one short coroutine for each type of check."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import anyio
from attrs import frozen

from flow_manager_core.contracts import Addressable, CommandRunner, ContainerBackend
from flow_manager_core.errors import FlowManagerError, ShuttingDown
from flow_manager_core.health_checks.course import Verdict
from flow_manager_core.health_checks.http_status import ask_status
from flow_manager_core.health_checks.pace import Pace
from flow_manager_core.models import CheckType, Health, HealthCheck, Message
from flow_manager_core.registry import ContainerRecord
from flow_manager_core.supervisor import Supervisor

#: Seconds between two commands, of all containers together. One makes three events, of which the
#: engine remembers 256: so it remembers for longer than two comparisons with it are apart.
COMMAND_PACE = 0.1
#: Characters of a command's output that a verdict quotes.
QUOTE = 500
OK_STATUS = range(200, 400)


class Unasked(Exception):
    """Nobody could be asked, through no fault of the container's."""


@frozen
class _Asked:
    record: ContainerRecord
    check: HealthCheck


class Probes:
    """Asks containers, each check within its own timeout."""

    def __init__(self, backend: ContainerBackend, supervisor: Supervisor) -> None:
        self._backend = backend
        self._supervisor = supervisor
        self._commands = Pace(COMMAND_PACE)
        self._ways: Mapping[CheckType, Callable[[_Asked], Awaitable[Verdict]]] = {
            CheckType.HTTP: self._http,
            CheckType.TCP: self._tcp,
            CheckType.COMMAND: self._command,
            CheckType.SOCKET: self._socket,
            CheckType.DOCKER: self._docker,
        }

    async def ask(self, record: ContainerRecord, check: HealthCheck) -> Verdict:
        """Carry out one check.

        Raises:
            Unasked: it could not be carried out, and says nothing of the container.
        """
        way = self._ways[check.check_type]
        if check.check_type is CheckType.COMMAND:
            await self._commands.turn()
        try:
            with anyio.fail_after(check.timeout):
                return await way(_Asked(record, check))
        except TimeoutError:
            return Verdict(f"no answer within {check.timeout:g} s")

    async def _http(self, asked: _Asked) -> Verdict:
        host, port = await self._address(asked)
        path = asked.check.endpoint or "/"
        try:
            status = await ask_status(host, port, path)
        except (OSError, anyio.BrokenResourceError, anyio.EndOfStream, ValueError) as error:
            return Verdict(f"GET {path} on port {port}: {error or type(error).__name__}")
        if status not in OK_STATUS:
            return Verdict(f"GET {path} on port {port} answered {status}")
        return Verdict()

    async def _tcp(self, asked: _Asked) -> Verdict:
        host, port = await self._address(asked)
        try:
            async with await anyio.connect_tcp(host, port):
                return Verdict()
        except OSError as error:
            return Verdict(f"port {port} cannot be reached: {error}")

    async def _address(self, asked: _Asked) -> tuple[str, int]:
        port = asked.check.port
        if port is None or not isinstance(self._backend, Addressable):
            raise Unasked("this backend has no way to a container's ports")
        try:
            return await self._backend.address(asked.record.id, port)
        except FlowManagerError as error:
            raise Unasked(error.message) from error

    async def _command(self, asked: _Asked) -> Verdict:
        command = asked.check.command
        if command is None or not isinstance(self._backend, CommandRunner):
            raise Unasked("this backend runs no commands in containers")
        try:
            done = await self._backend.run_command(asked.record.id, command, asked.check.timeout)
        except FlowManagerError as error:
            raise Unasked(error.message) from error
        if done.code == 0:
            return Verdict()
        return Verdict(f"{command[0]} ended with code {done.code}: {done.output[-QUOTE:]}".rstrip())

    async def _socket(self, asked: _Asked) -> Verdict:
        channel = asked.record.channel
        if channel is None or not channel.connected:
            return Verdict("the flow is not connected")
        try:
            await channel.ask(Message("ping"), asked.check.timeout, _nothing)
        except ShuttingDown as error:
            raise Unasked(error.message) from error
        except FlowManagerError as error:
            return Verdict(error.message)
        return Verdict()

    async def _docker(self, asked: _Asked) -> Verdict:
        try:
            seen = await self._supervisor.look(asked.record)
        except FlowManagerError as error:
            raise Unasked(error.message) from error
        if seen.health is Health.STARTING:
            raise Unasked("the image's own check has come to nothing yet")
        if seen.health is Health.NONE:
            return Verdict("the image has no health check of its own")
        return (
            Verdict() if seen.health is Health.HEALTHY else Verdict("the image's own check fails")
        )


def _nothing(_key: str) -> None:
    """Nobody is told of a ping."""
