"""Cases: commands beside a container's program, and the way to its ports."""

from __future__ import annotations

import pytest

from flow_manager_core.contracts import Addressable, CommandRunner, ContainerBackend
from flow_manager_core.errors import ContainerNotFound, EngineError
from flow_manager_core.testing.backend_cases.programs import BackendPrograms

#: An id that no container has.
NOBODY = "0" * 64
#: Seconds that a command may take.
LONG = 20.0


class ReachingCases(BackendPrograms):
    """`CommandRunner` and `Addressable`."""

    async def test_a_command_tells_its_exit_code_and_output(
        self, backend: ContainerBackend
    ) -> None:
        runner = _runner(backend)
        made = await self.running(backend, self.runs("a"))
        done = await runner.run_command(made, self.says("well", code=0), LONG)
        assert (done.code, done.output.strip()) == (0, "well")
        done = await runner.run_command(made, self.says("ill", code=3), LONG)
        assert (done.code, done.output.strip()) == (3, "ill")

    async def test_a_command_over_its_time_is_not_waited_for_and_another_may_follow(
        self, backend: ContainerBackend
    ) -> None:
        runner = _runner(backend)
        made = await self.running(backend, self.runs("a"))
        with pytest.raises(TimeoutError):
            await runner.run_command(made, self.lingers(), 0.5)
        assert (await runner.run_command(made, self.says("well", code=0), LONG)).code == 0

    async def test_commands_and_ports_are_those_of_running_containers(
        self, backend: ContainerBackend
    ) -> None:
        made = await backend.create(self.runs("a"))
        if isinstance(backend, CommandRunner):
            with pytest.raises(EngineError):
                await backend.run_command(made.id, self.says("", code=0), LONG)
            with pytest.raises(ContainerNotFound):
                await backend.run_command(NOBODY, self.says("", code=0), LONG)
        if isinstance(backend, Addressable):
            with pytest.raises(EngineError):
                await backend.address(made.id, 80)
            with pytest.raises(ContainerNotFound):
                await backend.address(NOBODY, 80)

    async def test_a_running_containers_port_has_an_address(
        self, backend: ContainerBackend
    ) -> None:
        if not isinstance(backend, Addressable):
            pytest.skip("this backend has no way to its containers' ports")
        made = await self.running(backend, self.runs("a"))
        host, port = await backend.address(made, 8080)
        assert host
        assert 0 < port < 65536


def _runner(backend: ContainerBackend) -> CommandRunner:
    if not isinstance(backend, CommandRunner):
        pytest.skip("this backend runs no commands in containers")
    return backend
