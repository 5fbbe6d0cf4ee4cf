"""The in-memory backend: the contract, and what tests and embedders build on."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, ClassVar

import anyio
import pytest

from flow_manager_core.contracts import (
    Addressable,
    CodeStore,
    CommandRunner,
    ContainerBackend,
    EventMemory,
    LogStreamer,
    ResourceMeter,
    Snapshots,
)
from flow_manager_core.errors import EngineError, EngineUnavailable
from flow_manager_core.events import now
from flow_manager_core.log import get_log
from flow_manager_core.models import (
    Attachment,
    CommandOutcome,
    ContainerSpec,
    ContainerState,
    CreatePlan,
    EngineEvent,
    EngineEventKind,
)
from flow_manager_core.providers import NoSettings, ProviderContext
from flow_manager_core.settings import Settings
from flow_manager_core.testing.backend_cases.programs import Output
from flow_manager_core.testing.backend_suite import BackendSuite
from flow_manager_core.testing.event_fan import EventFan
from flow_manager_core.testing.memory_backend import (
    SCRIPTED,
    MemoryBackend,
    MemoryEngine,
    MemoryFlow,
    memory_provider,
)

pytestmark = pytest.mark.anyio


#: The suite skips the cases of an ability that is not there.
ABILITIES = (
    Addressable,
    CodeStore,
    CommandRunner,
    EventMemory,
    LogStreamer,
    ResourceMeter,
    Snapshots,
)


@pytest.mark.parametrize("ability", ABILITIES)
def test_it_has_every_ability_that_the_suite_can_hold_it_to(ability: type) -> None:
    assert issubclass(MemoryBackend, ability)


class TestMemoryBackend(BackendSuite):
    image: ClassVar[str] = "memory"
    python: ClassVar[tuple[str, ...]] = ()
    impossible_command: ClassVar[tuple[str, ...]] = ("no such program",)
    working_dir: ClassVar[str | None] = None

    @pytest.fixture(autouse=True)
    async def _engine(self) -> AsyncIterator[None]:
        async with MemoryEngine(SCRIPTED).opened() as self.engine:
            yield

    def open(self, core: Settings) -> AbstractAsyncContextManager[ContainerBackend]:
        context = ProviderContext(settings=NoSettings(), core=core, log=get_log("memory"))
        return memory_provider(self.engine).factory(context)

    def says(self, text: str, *, code: int) -> Sequence[str]:
        self.engine.commands["say"] = CommandOutcome(code, text)
        return ("say",)

    def lingers(self) -> Sequence[str]:
        self.engine.commands["linger"] = None
        return ("linger",)

    def runs(self, name: str, *, stop_code: int = 0) -> CreatePlan:
        return self.plan(name, "run", str(stop_code))

    def counts(self, name: str) -> CreatePlan:
        return self.plan(name, "count")

    def stubborn(self, name: str) -> CreatePlan:
        return self.plan(name, "stubborn")

    def exits(self, name: str, code: int, *, after: float = 0.0) -> CreatePlan:
        return self.plan(name, "exit", str(code), str(after))

    def dies(self, name: str, signal: int) -> CreatePlan:
        return self.plan(name, "die", str(signal))

    def prints(self, name: str, lines: Sequence[Output]) -> CreatePlan:
        return self.plan(name, "print", json.dumps(lines))

    def tells(self, name: str, *keys: str, **spec: Any) -> CreatePlan:
        return self.plan(name, "tell", *keys, **spec)

    def remembers(self, name: str) -> CreatePlan:
        return self.plan(name, "remember", **self.coded())

    def shows(self, name: str, file: str) -> CreatePlan:
        return self.plan(name, "show", file, **self.coded())


def plan(name: str, image: str = "memory", *command: str, **environment: str) -> CreatePlan:
    spec = ContainerSpec(image=image, name=name, command=command)
    return CreatePlan(spec=spec, labels={}, attachment=Attachment(environment))


async def test_a_program_of_ones_own_crashes_on_command() -> None:
    async def fragile(flow: MemoryFlow) -> int:
        assert flow.environment["FLOW_SOCKET"] == "somewhere"
        await orders.receive()
        return 3

    give, orders = anyio.create_memory_object_stream[str](1)
    with give, orders:
        async with MemoryEngine({"fragile": fragile}).opened() as engine:
            backend = MemoryBackend(engine, "i")
            made = await backend.create(plan("a", "fragile", FLOW_SOCKET="somewhere"))
            async with backend.watch() as events:
                await backend.start(made.id)
                await give.send("crash")
                with anyio.fail_after(5):
                    kinds = [(await anext(events)).kind for _ in range(2)]
            assert kinds == [EngineEventKind.STARTED, EngineEventKind.DIED]
            assert (await backend.inspect(made.id)).exit_code == 3


async def test_a_program_that_raises_ends_with_code_1_and_its_traceback() -> None:
    async def broken(flow: MemoryFlow) -> int:
        raise ZeroDivisionError("never divide")

    async with MemoryEngine({"broken": broken}).opened() as engine:
        backend = MemoryBackend(engine, "i")
        made = await backend.create(plan("a", "broken"))
        async with backend.watch() as events:
            await backend.start(made.id)
            with anyio.fail_after(5):
                while (await anext(events)).kind is not EngineEventKind.DIED:
                    continue
        assert (await backend.inspect(made.id)).exit_code == 1
        last = (await backend.logs(made.id, tail=1, since=None))[0]
        assert (last.stream, last.line) == ("stderr", "ZeroDivisionError: never divide")


async def test_a_kill_from_outside_is_told() -> None:
    async with MemoryEngine(SCRIPTED).opened() as engine:
        backend = MemoryBackend(engine, "i")
        made = await backend.create(plan("a"))
        await backend.start(made.id)
        async with backend.watch() as events:
            engine.kill(engine.boxes["i"][made.id], 9)
            with anyio.fail_after(5):
                told = [await anext(events) for _ in range(2)]
        assert [(e.kind, e.signal) for e in told] == [
            (EngineEventKind.SIGNALLED, 9),
            (EngineEventKind.DIED, None),
        ]
        assert (await backend.inspect(made.id)).exit_code == 137


async def test_an_injected_fault_is_raised_until_it_is_taken_away() -> None:
    async with MemoryEngine(SCRIPTED).opened() as engine:
        backend = MemoryBackend(engine, "i")
        made = await backend.create(plan("a"))
        engine.faults["start"] = EngineUnavailable("The engine does not answer")
        with pytest.raises(EngineUnavailable):
            await backend.start(made.id)
        del engine.faults["start"]
        await backend.start(made.id)
        assert (await backend.inspect(made.id)).state is ContainerState.RUNNING


@pytest.mark.blocks_loop("a thousand calls that never wait are one step")
async def test_a_thousand_containers_run_at_once() -> None:
    async with MemoryEngine(SCRIPTED).opened() as engine:
        backend = MemoryBackend(engine, "i")
        made = [(await backend.create(plan(f"n{n}"))).id for n in range(1000)]
        for container_id in made:
            await backend.start(container_id)
        assert all(c.state is ContainerState.RUNNING for c in await backend.list())
        for container_id in made:
            await backend.remove(container_id)
        assert not await backend.list()


async def test_ids_follow_from_the_order_of_creation() -> None:
    ids = []
    for _ in range(2):
        async with MemoryEngine(SCRIPTED).opened() as engine:
            backend = MemoryBackend(engine, "i")
            ids.append([(await backend.create(plan(name))).id for name in "ab"])
    assert ids[0] == ids[1]


async def test_a_provider_without_an_engine_brings_its_own() -> None:
    context = ProviderContext(settings=NoSettings(), core=Settings(), log=get_log("memory"))
    async with memory_provider().factory(context) as backend:
        made = await backend.create(plan("a", "memory", "no such program"))
        with pytest.raises(EngineError, match="no such program"):
            await backend.start(made.id)


async def test_an_error_inside_the_engines_context_comes_out_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        async with MemoryEngine(SCRIPTED).opened():
            raise ZeroDivisionError


async def test_a_watcher_that_does_not_read_loses_its_stream_and_no_other() -> None:
    fan = EventFan(queue=2)
    events = [
        EngineEvent(kind=EngineEventKind.STARTED, container_id=str(n), at=now().timestamp())
        for n in range(3)
    ]
    async with fan.watch() as slow, fan.watch() as quick:
        for event in events:
            fan.publish(event)
            assert await anext(quick) == event
        assert [e async for e in slow] == events[:2]


@asynccontextmanager
async def one_running(
    *command: str,
) -> AsyncIterator[tuple[MemoryEngine, MemoryBackend, str]]:
    async with MemoryEngine(SCRIPTED).opened() as engine:
        backend = MemoryBackend(engine, "i")
        made = await backend.create(plan("a", "memory", *command))
        await backend.start(made.id)
        await anyio.wait_all_tasks_blocked()
        yield engine, backend, made.id


async def test_an_engine_that_is_away_fails_every_call_and_stream() -> None:
    async with one_running() as (engine, backend, made):
        async with backend.watch() as events:
            engine.away = True
            with pytest.raises(EngineUnavailable), anyio.fail_after(5):
                await anext(events)
        for call in (backend.ping, backend.list, backend.recall, backend.watch):
            with pytest.raises(EngineUnavailable) as caught:
                await call()  # type: ignore[misc]  # `watch` raises before there is a result
            assert caught.value.unsent
        engine.kill(engine.boxes["i"][made], 9)
        engine.away = False
        assert (await backend.recall())[-1].kind is EngineEventKind.SIGNALLED


async def test_the_answer_of_a_call_is_lost_when_the_engine_goes_away() -> None:
    async with (
        one_running("stubborn") as (engine, backend, made),
        anyio.create_task_group() as tasks,
    ):

        async def stop() -> None:
            with pytest.raises(EngineUnavailable) as caught:
                await backend.stop(made, 0.2)
            assert not caught.value.unsent

        tasks.start_soon(stop)
        await anyio.wait_all_tasks_blocked()
        engine.away = True


async def test_a_restarted_engine_has_ended_its_flows_and_forgotten_why() -> None:
    async with one_running() as (engine, backend, made):
        before = await backend.ping()
        await engine.restart(ends_flows=True)
        after = await backend.ping()
        seen = await backend.inspect(made)
        assert (seen.state, seen.exit_code) == (ContainerState.EXITED, 143)
        assert await backend.recall() == []
        assert not after.keeps_flows
        assert before.life != after.life
        assert before.since and after.since and seen.finished_at
        assert before.since < seen.finished_at < after.since


async def test_a_killed_engine_remembers_the_ends_that_it_made_on_its_return() -> None:
    async with one_running() as (engine, backend, _):
        await engine.restart(ends_flows=True, remembers=True)
        assert [e.kind for e in await backend.recall()] == [
            EngineEventKind.SIGNALLED,
            EngineEventKind.DIED,
            EngineEventKind.STOPPED,
        ]


async def test_flows_outlive_an_engine_that_keeps_them() -> None:
    async with one_running() as (engine, backend, made):
        before = await backend.ping()
        await engine.restart(ends_flows=False)
        after = await backend.ping()
        assert (await backend.inspect(made)).state is ContainerState.RUNNING
        assert after.keeps_flows
        assert before.life != after.life
        assert before.since == after.since
