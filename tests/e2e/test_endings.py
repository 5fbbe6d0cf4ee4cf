"""How a run may end, told apart: by whom, with what code, once each.

Exit codes prove nothing: what was asked before, and in which order the engine tells it, does.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread
from attrs import frozen

from tests.e2e.client import Client
from tests.e2e.service import Service
from tests.e2e.sights import moves_since, on_engine, settled, told_of, until
from tests.support.engine import DockerEngine

pytestmark = pytest.mark.anyio

#: Ends with a code of its own when it gets this signal.
ENDS_ON = """
import os, signal
signal.signal({signal}, lambda *_: os._exit({code}))
print("ready", flush=True)
while True:
    signal.pause()
"""
SLEEPS = "import time; print('ready', flush=True); time.sleep(600)"
#: Lets the signal pass, and breaks on its own account some time later.
SURVIVES = """
import os, signal, time
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(time.monotonic()))
print("ready", flush=True)
while not asked or time.monotonic() < asked[0] + 3:
    time.sleep(0.05)
os._exit(7)
"""
#: Ends when a file says so, with the code in it; a negative one is a signal.
ENDS_BY_FILE = """
import os, time
path = os.environ["END"]
print("ready", flush=True)
while not os.path.exists(path):
    time.sleep(0.02)
code = int(open(path).read())
print("leaving with", code, flush=True)
if code < 0:
    os.kill(os.getpid(), -code)
    time.sleep(60)
os._exit(code)
"""
EATS = "noise = []\nwhile True:\n    noise.append(bytearray(1 << 20))\n"
FEEDS_A_CHILD = f"""
import subprocess, sys
child = subprocess.run([sys.executable, "-c", {EATS!r}])
print("the child ended with", child.returncode, flush=True)
"""
#: Eats once a file says so.
STARVES = ENDS_BY_FILE.partition("code =")[0] + EATS
LITTLE = {"memory": 32 * 1024 * 1024}
RECOVERY = ("recovery_scheduled", "container_recovered", "recovery_gave_up")


@frozen
class Run:
    """A program that runs, and all that a client hears of it."""

    client: Client
    id: str

    def crashes(self) -> list[dict[str, Any]]:
        return [
            body
            for name, body in self.client.events
            if name == "container_crashed" and body["container_id"] == self.id
        ]

    async def ended(self, state: str) -> None:
        """Wait until its end is told, and all else that is to tell; once, as this state."""
        await self.client.event("status_changed", container_id=self.id, new_state=state)
        await settled(self.client)
        assert moves_since(self.client, self.id, 0)[-1] == ("running", state)
        status = await self.client.ask("get_container_status", container_id=self.id)
        assert status["state"] == state
        ends = [move for move in moves_since(self.client, self.id, 0) if move[0] == "running"]
        assert len(ends) == 1

    async def stopped(self) -> None:
        """It ended as somebody wanted, or well: no crash, and nobody brings it back."""
        await self.ended("stopped")
        assert told_of(self.client, self.id, "container_crashed", *RECOVERY) == []

    async def crashed(self, code: int, signal_name: str | None, *, oom: bool = False) -> Any:
        """It crashed, which is told once; return the details."""
        await self.client.event("container_crashed", container_id=self.id)
        await self.ended("exited")
        (crash,) = self.crashes()
        assert crash["exit_code"] == code
        assert crash["crash_details"]["signal"] == signal_name
        assert crash["crash_details"]["oom_killed"] is oom
        assert crash["crash_details"]["error"]
        return crash["crash_details"]


async def printed(client: Client, container_id: str, line: str = "ready") -> None:
    async def there() -> bool:
        logs = await client.ask("get_container_logs", container_id=container_id)
        return line in {entry["line"] for entry in logs["lines"]}

    await until(there)


async def started(client: Client, program: str, **payload: Any) -> Run:
    command = client.service.command("-c", program)
    made = await client.create(command=command, start=True, **payload)
    return Run(client, made)


async def ready(client: Client, program: str, **payload: Any) -> Run:
    """Start a program and wait for its word."""
    run = await started(client, program, **payload)
    await printed(client, run.id)
    return run


@pytest.fixture
def engine(service: Service, request: pytest.FixtureRequest) -> DockerEngine:
    """The engine behind the service; the process backend has none to go round by."""
    if service.backend != "docker":
        pytest.skip("there is no other way to this backend's processes")
    found: DockerEngine = request.getfixturevalue("docker_engine")
    return found


@pytest.fixture
async def odd_image(engine: DockerEngine, service: Service) -> AsyncIterator[str]:
    """The service's image, but for the signal that stops it."""
    name = "flow-manager-test/odd-stop:1"

    def make(client: Any) -> None:
        made = client.create_container(service.image, ["true"], stop_signal="SIGUSR1")["Id"]
        repository, _, tag = name.rpartition(":")
        client.commit(made, repository, tag)
        client.remove_container(made)

    await on_engine(engine, make)
    yield name
    await on_engine(engine, lambda client: client.remove_image(name, force=True))


async def test_a_stop_through_us_is_no_crash_whatever_the_code(client: Client) -> None:
    run = await ready(client, ENDS_ON.format(signal=15, code=5), restart={"policy": "always"})
    await client.ask("stop_container", container_id=run.id)
    await run.stopped()


async def test_a_stop_through_us_that_needs_force_is_no_crash(client: Client) -> None:
    deaf = "import signal; signal.signal(15, signal.SIG_IGN);" + SLEEPS
    run = await ready(client, deaf, restart={"policy": "always"})
    await client.ask("stop_container", container_id=run.id, timeout=1)
    await run.stopped()


@pytest.mark.parametrize(("code", "force"), [(5, False), (0, False), (5, True)])
async def test_a_stop_from_outside_is_no_crash(
    client: Client, engine: DockerEngine, code: int, force: bool
) -> None:
    program = ENDS_ON.format(signal=10 if force else 15, code=code)
    if force:
        program = "import signal; signal.signal(15, signal.SIG_IGN)\n" + program
    run = await ready(client, program, restart={"policy": "always"})
    await on_engine(engine, lambda docker: docker.stop(run.id, timeout=1))
    await run.stopped()


async def test_a_stop_from_outside_by_an_odd_signal_is_no_crash(
    client: Client, engine: DockerEngine, odd_image: str
) -> None:
    odd = ENDS_ON.format(signal=int(signal.SIGUSR1), code=5)
    run = await ready(client, odd, image=odd_image, restart={"policy": "on-crash"})
    await on_engine(engine, lambda docker: docker.stop(run.id, timeout=10))
    await run.stopped()


@pytest.mark.parametrize("program", [SLEEPS, ENDS_ON.format(signal=15, code=5)])
async def test_a_polite_signal_from_outside_is_no_crash(
    client: Client, engine: DockerEngine, program: str
) -> None:
    run = await ready(client, program, restart={"policy": "on-crash"})
    await on_engine(engine, lambda docker: docker.kill(run.id, signal="TERM"))
    await run.stopped()


async def test_a_kill_from_outside_is_a_crash(client: Client, engine: DockerEngine) -> None:
    run = await ready(client, SLEEPS)
    await on_engine(engine, lambda docker: docker.kill(run.id))
    await run.crashed(137, "SIGKILL")


async def test_a_crash_some_time_after_a_signal_that_it_survived_is_a_crash(
    client: Client, engine: DockerEngine
) -> None:
    run = await ready(client, SURVIVES)
    await on_engine(engine, lambda docker: docker.kill(run.id, signal="TERM"))
    await run.crashed(7, None)


async def test_an_end_with_code_0_is_no_crash(client: Client) -> None:
    run = await started(client, "print('done')", restart={"policy": "on-crash"})
    await run.stopped()


async def test_an_end_with_another_code_is_a_crash_with_its_last_words(client: Client) -> None:
    run = await started(client, "print('last words', flush=True); raise SystemExit(3)")
    details = await run.crashed(3, None)
    assert "last words" in details["logs"]


async def test_a_program_that_kills_itself_is_a_crash_by_that_signal(client: Client) -> None:
    run = await started(client, "import os; os.kill(os.getpid(), 11)")
    await run.crashed(139, "SIGSEGV")


async def test_want_of_memory_is_a_crash_that_says_so(client: Client, engine: DockerEngine) -> None:
    run = await started(client, EATS, resources=LITTLE)
    await run.crashed(137, "SIGKILL", oom=True)


async def test_a_child_that_was_killed_for_memory_is_no_crash_of_a_flow_that_ends_well(
    client: Client, engine: DockerEngine
) -> None:
    run = await started(client, FEEDS_A_CHILD, resources=LITTLE, restart={"policy": "on-crash"})
    await run.stopped()
    await printed(client, run.id, "the child ended with -9")


async def test_a_flow_that_breaks_after_its_child_was_killed_did_not_itself_lack_memory(
    client: Client, engine: DockerEngine
) -> None:
    run = await started(client, FEEDS_A_CHILD + "raise SystemExit(9)", resources=LITTLE)
    await run.crashed(9, None)


async def test_a_command_that_cannot_run_is_an_error_and_no_loop(
    client: Client, service: Service, engine: DockerEngine
) -> None:
    key = await client.create(command=["/no/such/program"], restart={"policy": "always"})
    answer = await client.ask("start_container", container_id=key)
    assert answer["error_type"] == "docker_api_error"
    assert answer["details"]["retryable"] is False
    await settled(client)
    status = await client.ask("get_container_status", container_id=key)
    assert status["state"] == "created"
    assert told_of(client, key, "status_changed", "container_crashed", *RECOVERY) == []


class Away:
    """Programs whose ends the manager does not see: it was killed, and comes back later."""

    def __init__(self, service: Service, folder: Path) -> None:
        self.service = service
        self.folder = folder
        self.names: list[str] = []

    async def begin(self, client: Client, name: str, program: str, **payload: Any) -> Run:
        inside = "/ends" if self.service.backend == "docker" else str(self.folder)
        if self.service.backend == "docker":
            payload["volumes"] = {str(self.folder): inside}
        run = await ready(
            client, program, name=name, environment={"END": f"{inside}/{name}"}, **payload
        )
        self.names.append(name)
        client._made.remove(run.id)
        return run

    def end(self, name: str, code: int) -> None:
        part = self.folder / f"{name}.part"
        part.write_text(str(code))
        part.rename(self.folder / name)

    async def clear(self) -> None:
        async with Client(self.service) as client:
            for name in self.names:
                await client.ask("delete_container", container_id=name)


@pytest.fixture
async def away(service: Service) -> AsyncIterator[Away]:
    folder = service.root / "ends"
    folder.mkdir(exist_ok=True)
    made = Away(service, folder)
    yield made
    await made.clear()


async def test_what_ended_while_the_manager_was_dead_is_told_once_as_what_it_was(
    service: Service, away: Away, request: pytest.FixtureRequest
) -> None:
    async with Client(service) as client:
        crashed = await away.begin(client, "away-crashed", ENDS_BY_FILE)
        again = await away.begin(
            client, "away-again", ENDS_BY_FILE, restart={"policy": "on-crash", "max_attempts": 1}
        )
        done = await away.begin(client, "away-done", ENDS_BY_FILE)
        killed = await away.begin(client, "away-killed", ENDS_BY_FILE)
        steady = await away.begin(client, "away-steady", ENDS_BY_FILE)
    await to_thread.run_sync(service.stop, signal.SIGKILL)
    away.end("away-crashed", 3)
    away.end("away-again", 4)
    away.end("away-done", 0)
    away.end("away-killed", -9)
    if service.backend == "docker":
        engine = request.getfixturevalue("docker_engine")
        for run in (crashed, again, done, killed):
            await until(partial(has_ended, engine, run.id))
    await to_thread.run_sync(service.start)
    async with Client(service) as client:
        details = await Run(client, crashed.id).crashed(3, None)
        assert "leaving with 3" in details["logs"]
        await Run(client, killed.id).crashed(137, "SIGKILL")
        await Run(client, done.id).stopped()
        await client.event("container_crashed", container_id=again.id, exit_code=4)
        # The file is still there: it ends at once, and one restart was all that it had.
        gave_up = await client.event("recovery_gave_up", container_id=again.id)
        assert gave_up["attempts"] == 1
        await settled(client)
        told = told_of(client, again.id, "container_crashed")
        assert told == ["container_crashed"] * 2
        assert told_of(client, steady.id, "status_changed", "container_crashed") == []
        status = await client.ask("get_container_status", container_id=steady.id)
        assert status["state"] == "running"
    # Whoever comes after another restart hears nothing of it again.
    await to_thread.run_sync(service.stop, signal.SIGKILL)
    await to_thread.run_sync(service.start)
    async with Client(service) as client:
        await settled(client)
        for run in (crashed, killed, done, again, steady):
            assert told_of(client, run.id, "container_crashed", "status_changed", *RECOVERY) == []


async def test_what_was_stopped_or_killed_from_outside_meanwhile_is_told_as_that(
    service: Service, engine: DockerEngine, away: Away
) -> None:
    always = {"restart": {"policy": "always"}}
    async with Client(service) as client:
        halted = await away.begin(
            client, "away-halted", ENDS_ON.format(signal=15, code=5), **always
        )
        asked = await away.begin(client, "away-asked", SLEEPS, **always)
        killed = await away.begin(client, "away-shot", SLEEPS)
        starved = await away.begin(client, "away-starved", STARVES, resources=LITTLE)
    await to_thread.run_sync(service.stop, signal.SIGKILL)
    await on_engine(engine, lambda docker: docker.stop(halted.id, timeout=10))
    await on_engine(engine, lambda docker: docker.kill(asked.id, signal="TERM"))
    await on_engine(engine, lambda docker: docker.kill(killed.id))
    away.end("away-starved", 0)
    for run in (halted, asked, killed, starved):
        await until(partial(has_ended, engine, run.id))
    await to_thread.run_sync(service.start)
    async with Client(service) as client:
        await Run(client, halted.id).stopped()
        await Run(client, asked.id).stopped()
        await Run(client, killed.id).crashed(137, "SIGKILL")
        await Run(client, starved.id).crashed(137, "SIGKILL", oom=True)


async def has_ended(engine: DockerEngine, container_id: str) -> bool:
    found = await on_engine(engine, lambda docker: docker.inspect_container(container_id))
    return not found["State"]["Running"]
