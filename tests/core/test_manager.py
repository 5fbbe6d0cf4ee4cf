"""The manager as a host embeds it: on both event loops, with providers in memory."""

from __future__ import annotations

import json
import logging
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream
from attrs import evolve

from flow_manager_core import FlowManager, FlowManagerError, PluginHost, Settings
from flow_manager_core.desired import Wish
from flow_manager_core.errors import (
    ConfigurationError,
    EngineError,
    EngineUnavailable,
    ImageNotFound,
)
from flow_manager_core.events import Event, StatusChanged
from flow_manager_core.models import (
    Client,
    GiveUp,
    RecoveryHistory,
    Restart,
    RestartPolicy,
)
from flow_manager_core.providers import RecoveryProvider
from flow_manager_core.testing.memory_backend import (
    SCRIPTED,
    MemoryEngine,
    MemoryFlow,
    memory_provider,
)
from flow_manager_core.testing.memory_transport import MemoryNetwork, memory_transport_provider

pytestmark = pytest.mark.anyio


class ThreeTimes:
    """A recovery policy with nothing left to chance."""

    def decide(self, history: RecoveryHistory, restart: RestartPolicy) -> Restart | GiveUp:
        attempt = len(history.uptimes)
        return Restart(attempt, 0.01) if attempt <= 3 else GiveUp(3, "three times is enough")


class House:
    """A manager in memory, and what its clients are told."""

    def __init__(self, engine: MemoryEngine, network: MemoryNetwork, **settings: Any) -> None:
        self.engine = engine
        self.told: list[Event] = []
        self.manager = FlowManager(
            Settings(
                **{
                    "reconcile_interval": 0.05,
                    "proof_of_life": 0.05,
                    "journal": "memory",
                    **settings,
                }
            ),
            host=PluginHost(installed=False),
            backend=memory_provider(engine),
            transport=memory_transport_provider(network),
            recovery=RecoveryProvider(name="three", factory=lambda _context: ThreeTimes()),
        )

    async def listen(self, *, task_status: Any = anyio.TASK_STATUS_IGNORED) -> None:
        manager = self.manager
        async with manager.subscribe(since=manager.beginning) as events:
            first, last = manager.beginning.seq, manager.position.seq
            if last == first:
                task_status.started()
            async for event in events:
                self.told.append(event)
                if event.seq == last > first:
                    task_status.started()  # what the start told is heard before all else

    async def ask(self, operation: str, /, **payload: Any) -> dict[str, Any]:
        return await self.manager.execute(operation, payload)

    async def create(self, *command: str, **payload: Any) -> str:
        made = await self.ask(
            "create_container", image="memory", command=list(command), start=True, **payload
        )
        return str(made["container_id"])

    async def until(self, condition: Callable[[], Any]) -> None:
        with anyio.fail_after(10):
            while not condition():
                await anyio.sleep(0.001)

    async def until_answered(self, operation: str, /, **payload: Any) -> dict[str, Any]:
        """Ask until the engine is there again."""
        with anyio.fail_after(10):
            while True:
                try:
                    return await self.ask(operation, **payload)
                except EngineUnavailable:
                    await anyio.sleep(0.01)

    async def until_state(self, key: str, state: str) -> None:
        with anyio.fail_after(10):
            while (await self.until_answered("get_container_status", container_id=key))[
                "state"
            ] != state:
                await anyio.sleep(0.01)

    async def until_health(self, status: str) -> None:
        with anyio.fail_after(10):
            while (await self.manager.health())["status"] != status:
                await anyio.sleep(0.01)

    def kill(self) -> None:
        """Kill the only container's run from outside."""
        (boxes,) = self.engine.boxes.values()
        (box,) = boxes.values()
        self.engine.kill(box, 9)

    def names(self, *wanted: str) -> list[str]:
        return [event.name for event in self.told if event.name in wanted]


@asynccontextmanager
async def house(
    engine: MemoryEngine | None = None, network: MemoryNetwork | None = None, **settings: Any
) -> AsyncIterator[House]:
    async with anyio.create_task_group() as group:
        if engine is None:
            engine = await group.start(hold, {"flow": flow_program, **SCRIPTED})
        found = House(engine, network or MemoryNetwork(), **settings)
        async with found.manager:
            await group.start(found.listen)
            yield found
        group.cancel_scope.cancel()


async def hold(programs: Any, *, task_status: Any) -> None:
    async with MemoryEngine(programs).opened() as engine:
        task_status.started(engine)
        await anyio.sleep_forever()


NETWORK = MemoryNetwork()


async def flow_program(flow: MemoryFlow) -> int:
    async with await NETWORK.connect(flow.environment) as stream:
        reader = BufferedByteReceiveStream(stream)
        while True:
            try:
                (size,) = struct.unpack(">I", await reader.receive_exactly(4))
            except anyio.IncompleteRead:
                return 0
            message = json.loads(await reader.receive_exactly(size))
            if message["command"] == "exit":
                return int(message["data"])
            if message["command"] == "silence":
                continue
            answer = json.dumps(
                {
                    "command": "result",
                    "data": flow.environment.get("X")
                    if message["command"] == "x"
                    else message["data"],
                    "reply_to": message.get("id"),
                }
            ).encode()
            await stream.send(struct.pack(">I", len(answer)) + answer)


async def test_a_host_gets_answers_events_and_typed_errors() -> None:
    async with house(network=NETWORK) as h:
        made = await h.ask("create_container", image="flow", name="one", start=True)
        key = made["container_id"]
        await h.until(lambda: h.names("socket_connected"))
        answer = await h.ask(
            "send_message",
            container_id="one",
            message={"command": "echo", "data": [1, 2]},
            reply=True,
        )
        assert answer["reply"]["data"] == [1, 2]
        with pytest.raises(FlowManagerError) as caught:
            await h.ask("start_container", container_id="other")
        assert caught.value.error_type == "container_not_found"
        assert caught.value.details["operation"] == "start_container"
        await h.ask("delete_container", container_id=key)
        moves = [e.new_state for e in h.told if isinstance(e, StatusChanged)]
        assert moves == ["running", "stopped", "removing"]
        assert h.names("socket_connected", "socket_disconnected") == [
            "socket_connected",
            "socket_disconnected",
        ]
        assert not h.names("container_crashed")


async def test_a_crash_loop_is_restarted_as_the_policy_says_and_then_given_up() -> None:
    async with house() as h:
        key = await h.create("exit", "4", restart={"policy": "on-crash"})
        await h.until(lambda: h.names("recovery_gave_up"))
        assert len(h.names("container_crashed")) == 4
        assert h.names("recovery_scheduled", "recovery_gave_up") == [
            *["recovery_scheduled"] * 3,
            "recovery_gave_up",
        ]
        status = await h.ask("get_container_status", container_id=key)
        assert (status["state"], status["exit_code"], status["restarts"]) == ("exited", 4, 3)


@pytest.mark.parametrize(
    ("policy", "code", "restarted"),
    [
        ("never", "1", False),
        ("on-crash", "0", False),
        ("on-crash", "1", True),
        ("always", "0", True),
        ("unhealthy", "1", True),
    ],
)
async def test_the_restart_policy_decides_what_follows_an_end(
    policy: str, code: str, restarted: bool
) -> None:
    async with house() as h:
        key = await h.create("exit", code, restart={"policy": policy})
        ends = ("exited", "stopped")
        await h.until(
            lambda: (
                h.names("recovery_gave_up")
                or any(getattr(e, "new_state", None) in ends for e in h.told)
            )
        )
        if restarted:
            await h.until(lambda: h.names("recovery_gave_up"))
        assert bool(h.names("recovery_scheduled")) is restarted
        await h.ask("delete_container", container_id=key)


@pytest.mark.parametrize("operation", ["stop_container", "delete_container"])
async def test_a_stop_or_delete_wins_over_a_restart_that_waits(operation: str) -> None:
    async with house() as h:
        h.manager._services.recovery._policy = Patient()  # type: ignore[union-attr]
        key = await h.create("exit", "1", restart={"policy": "always"})
        await h.until(lambda: h.names("recovery_scheduled"))
        await h.ask(operation, container_id=key)
        recovery = h.manager._services.recovery  # type: ignore[union-attr]
        await h.until(lambda: not recovery._pending)
        assert not h.names("container_recovered")


class Patient:
    def decide(self, history: RecoveryHistory, restart: RestartPolicy) -> Restart:
        return Restart(1, 1000.0)


async def obey_code(flow: MemoryFlow) -> int | None:
    """End as the code says: with a number, or not at all."""
    said = flow.code["flow"].decode()
    if said == "run":
        await anyio.sleep_forever()
    return int(said)


async def sleep_for_ever(flow: MemoryFlow) -> None:
    await anyio.sleep_forever()


@pytest.mark.parametrize("ends", ["0", "1"])
async def test_an_update_wins_over_a_restart_that_waits_and_runs_the_new_code(
    ends: str, tmp_path: Path
) -> None:
    code = tmp_path / "code"
    code.mkdir()
    async with anyio.create_task_group() as group:
        engine = await group.start(hold, {"obedient": obey_code})
        async with house(engine, volume_roots=(tmp_path,)) as h:
            h.manager._services.recovery._policy = Patient()  # type: ignore[union-attr]
            (code / "flow").write_text(ends)
            made = await h.ask(
                "create_container",
                image="obedient",
                code_path=str(code),
                start=True,
                restart={"policy": "always"},
            )
            await h.until(lambda: h.names("recovery_scheduled"))
            (code / "flow").write_text("run")
            key = made["container_id"]
            await h.ask("update_container", container_id=key, code_path=str(code))
            assert (await h.ask("get_container_status", container_id=key))["state"] == "running"
        group.cancel_scope.cancel()


async def test_an_update_of_a_flow_that_ended_unnoticed_does_not_start_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "flow").write_text("run")
    async with anyio.create_task_group() as group:
        engine = await group.start(hold, {"obedient": obey_code})
        async with house(engine, volume_roots=(tmp_path,), reconcile_interval=60.0) as h:
            made = await h.ask(
                "create_container", image="obedient", code_path=str(tmp_path), start=True
            )
            await anyio.wait_all_tasks_blocked()
            # The engine's word of the end is still on its way.
            monkeypatch.setattr(engine.fan("default"), "publish", lambda _event: None)
            h.kill()
            (box,) = engine.boxes["default"].values()
            await h.until(lambda: box.run is None)
            key = made["container_id"]
            await h.ask("update_container", container_id=key, code_path=str(tmp_path))
            assert (await h.ask("get_container_status", container_id=key))["state"] == "exited"
        group.cancel_scope.cancel()


async def test_a_crash_that_nobody_noticed_yet_is_told_before_a_start_hides_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with anyio.create_task_group() as group:
        engine = await group.start(hold, {"endless": sleep_for_ever})
        async with house(engine, reconcile_interval=60.0) as h:
            made = await h.ask("create_container", image="endless", start=True)
            await anyio.wait_all_tasks_blocked()
            # The engine's word of the end is still on its way.
            monkeypatch.setattr(engine.fan("default"), "publish", lambda _event: None)
            h.kill()
            (box,) = engine.boxes["default"].values()
            await h.until(lambda: box.run is None)
            await h.ask("start_container", container_id=made["container_id"])
            await h.until(lambda: h.names("container_crashed"))
            status = await h.ask("get_container_status", container_id=made["container_id"])
            assert status["state"] == "running"
        group.cancel_scope.cancel()


async def test_what_cannot_be_put_right_while_the_engine_is_away_is_put_off(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with house() as h:
        key = await h.create("run")
        (record,) = h.manager._services.registry  # type: ignore[union-attr]
        h.engine.faults["stop"] = EngineUnavailable("The engine is away")
        await h.manager._services.ledger.note(  # type: ignore[union-attr]
            record, wish=Wish.DOWN, asked_run=record.made().started_at
        )
        await h.until(lambda: "Putting right is put off" in caplog.text)
        del h.engine.faults["stop"]
        await h.until_state(key, "stopped")
    assert "could not be put right" not in caplog.text


async def test_a_stop_is_no_crash_whatever_the_exit_code() -> None:
    async with house() as h:
        key = await h.create("stubborn", stop_timeout=0.05)
        await h.ask("stop_container", container_id=key)
        status = await h.ask("get_container_status", container_id=key)
        assert (status["state"], status["exit_code"]) == ("stopped", 137)
        assert not h.names("container_crashed")


@pytest.mark.parametrize("error", [ZeroDivisionError, ImageNotFound("x"), KeyError("x")])
async def test_a_host_s_own_error_passes_through_as_it_is(error: Any) -> None:
    async with MemoryEngine(SCRIPTED).opened() as engine:
        with pytest.raises(error if isinstance(error, type) else type(error)):
            async with House(engine, MemoryNetwork()).manager:
                raise error


async def test_a_cancelled_host_leaves_at_once() -> None:
    async with MemoryEngine(SCRIPTED).opened() as engine:
        with anyio.fail_after(5), anyio.CancelScope() as scope:
            async with House(engine, MemoryNetwork()).manager:
                scope.cancel()
                await anyio.sleep_forever()
        assert scope.cancelled_caught


async def test_leaving_while_requests_are_under_way_answers_them_all() -> None:
    answers: list[Any] = []
    async with anyio.create_task_group() as group:
        async with house(network=NETWORK, shutdown_timeout=0.05) as h:
            session = h.manager.session(Client("test", "1"))
            key = (await h.ask("create_container", image="flow", start=True))["container_id"]
            await h.until(lambda: h.names("socket_connected"))

            async def ask() -> None:
                payload = {
                    "container_id": key,
                    "message": {"command": "silence"},
                    "reply": True,
                    "timeout": 600,
                }
                answers.append(await session.answer("send_message", payload))

            group.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
    assert answers[0].event == "error"
    assert answers[0].body["error_type"] == "system_error"
    assert answers[0].body["details"]["retryable"] is True


async def test_no_request_is_taken_once_the_manager_closes() -> None:
    async with house() as h:
        await h.manager._executor.close(0.01)  # type: ignore[union-attr]
        with pytest.raises(FlowManagerError, match="shutting down"):
            await h.ask("list_containers")


async def test_a_later_life_adopts_what_an_earlier_one_made() -> None:
    async with MemoryEngine({"flow": flow_program, **SCRIPTED}).opened() as engine:
        async with house(engine, NETWORK) as h:
            made = await h.ask(
                "create_container",
                image="memory",
                name="kept",
                restart={"policy": "on-crash"},
                request_id="r-1",
                start=True,
            )
        async with house(engine, NETWORK) as h:
            listed = await h.ask("list_containers")
            assert [c["name"] for c in listed["containers"]] == ["kept"]
            assert listed["containers"][0]["status"] == "running"
            record = h.manager._services.registry.find("kept")  # type: ignore[union-attr]
            assert record.terms.restart.policy == "on-crash"
            again = await h.ask(
                "create_container",
                image="memory",
                name="kept",
                restart={"policy": "on-crash"},
                request_id="r-1",
                start=True,
            )
            assert again == {**made, "status": "running"}
            await h.ask("delete_container", container_id="kept")


async def test_two_instances_on_one_engine_do_not_see_each_other() -> None:
    async with MemoryEngine(SCRIPTED).opened() as engine:
        async with house(engine, MemoryNetwork(), instance="a") as a:
            await a.create("run", name="mine")
            async with house(engine, MemoryNetwork(), instance="b") as b:
                assert (await b.ask("list_containers"))["count"] == 0
                with pytest.raises(FlowManagerError, match="not found"):
                    await b.ask("delete_container", container_id="mine")
            await a.ask("delete_container", container_id="mine")


async def test_a_container_removed_behind_our_back_is_dropped() -> None:
    async with house() as h:
        key = await h.create("run")
        record = h.manager._services.registry.find(key)  # type: ignore[union-attr]
        other = memory_provider(h.engine)
        async with other.factory(h.manager._choice.context(other)) as backend:
            await backend.remove(record.id)
        await h.until(lambda: record.gone)
        with pytest.raises(FlowManagerError, match="not found"):
            await h.ask("get_container_status", container_id=key)


async def test_an_engine_that_is_away_is_named_and_may_be_tried_again() -> None:
    async with house() as h:
        h.engine.faults["create"] = EngineUnavailable("The engine does not answer")
        with pytest.raises(EngineUnavailable) as caught:
            await h.ask("create_container", image="memory", name="later")
        assert caught.value.retryable
        del h.engine.faults["create"]
        await h.ask("create_container", image="memory", name="later")
        h.engine.faults["ping"] = EngineUnavailable("The engine does not answer")
        await h.until_health("degraded")
        del h.engine.faults["ping"]
        await h.until_health("healthy")


async def test_a_provider_that_breaks_its_word_is_a_system_error() -> None:
    async with house() as h:
        h.engine.faults["create"] = RuntimeError("a bug")
        with pytest.raises(FlowManagerError) as caught:
            await h.ask("create_container", image="memory", name="broken")
        assert caught.value.error_type == "system_error"
        assert "a bug" not in caught.value.message
        del h.engine.faults["create"]
        await h.ask("create_container", image="memory", name="broken")


async def test_everything_that_cannot_be_chosen_is_listed() -> None:
    settings = Settings(backend="dokcer", transport="pigeon", frontends=("fax",))
    manager = FlowManager(settings, host=PluginHost(installed=False))
    with pytest.raises(ConfigurationError) as caught:
        async with manager:
            raise AssertionError("entered")
    assert {fault.field for fault in caught.value.faults} == {"backend", "transport", "frontend"}


async def test_embedding_touches_no_global() -> None:
    root = logging.getLogger()
    before = (root.handlers[:], root.level, logging.getLogger("flow_manager").level)
    async with house() as h:
        await h.create("exit", "1")
        await h.until(lambda: h.names("container_crashed"))
    assert (root.handlers[:], root.level, logging.getLogger("flow_manager").level) == before


async def test_one_container_in_trouble_does_not_hold_up_another() -> None:
    async with house() as h:
        slow = await h.create("stubborn", stop_timeout=5)
        quick = await h.create("run")
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: h.ask("stop_container", container_id=slow, timeout=0.5))
            await anyio.wait_all_tasks_blocked()
            with anyio.fail_after(0.4):
                await h.ask("restart_container", container_id=quick)


async def test_a_delete_that_is_refused_leaves_a_container_that_can_be_deleted() -> None:
    async with house() as h:
        key = await h.create("run")
        h.engine.faults["remove"] = EngineError("The engine refuses")
        with pytest.raises(EngineError):
            await h.ask("delete_container", container_id=key)
        del h.engine.faults["remove"]
        await h.until_state(key, "stopped")
        await h.ask("delete_container", container_id=key)
        assert (await h.ask("list_containers"))["count"] == 0


async def test_a_delete_that_the_engine_did_not_answer_is_finished_when_it_does() -> None:
    async with house() as h:
        key = await h.create("run")
        h.engine.faults["remove"] = EngineUnavailable("The engine does not answer")
        with pytest.raises(EngineUnavailable):
            await h.ask("delete_container", container_id=key)
        del h.engine.faults["remove"]
        with anyio.fail_after(5):
            while (await h.ask("list_containers"))["count"]:
                await anyio.sleep(0.01)


async def test_a_backend_that_breaks_its_word_does_not_end_the_manager(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with house() as h:
        key = await h.create("exit", "1", restart={"policy": "always"})
        for method in ("list", "inspect", "logs", "start"):
            h.engine.faults[method] = RuntimeError("a bug")
        await h.until(lambda: "failed in a way that it must not" in caplog.text)
        h.engine.faults.clear()
        await h.until_answered("list_containers")
        assert (await h.ask("list_containers"))["count"] == 1
        await h.ask("delete_container", container_id=key)


async def test_a_caller_that_gives_up_costs_nobody_the_crash_it_found() -> None:
    async with house(reconcile_interval=3600) as h:
        gate = anyio.Event()
        backend = h.manager._services.backend  # type: ignore[union-attr]
        read_logs = backend.logs

        async def slow_logs(*args: Any, **options: Any) -> Any:
            gate.set()
            await anyio.sleep(0.1)
            return await read_logs(*args, **options)

        backend.logs = slow_logs  # type: ignore[method-assign]
        key = await h.create("exit", "1", "0.05", restart={"policy": "always"})
        with anyio.move_on_after(0.15):
            while True:
                await h.ask("get_container_status", container_id=key)
        await h.until(lambda: h.names("container_crashed") and h.names("recovery_scheduled"))
        await h.ask("delete_container", container_id=key)


async def test_a_stop_that_finds_a_crash_is_not_undone_by_recovery() -> None:
    async with house(reconcile_interval=3600) as h:
        key = await h.create("run", "1", restart={"policy": "always"})
        record = h.manager._services.registry.find(key)  # type: ignore[union-attr]
        async with anyio.create_task_group() as group:
            async with record.look_lock:
                h.kill()
                group.start_soon(lambda: h.ask("stop_container", container_id=key))
                await anyio.wait_all_tasks_blocked()
        assert not h.manager._services.recovery._pending  # type: ignore[union-attr]
        assert not record.state.alive


async def test_a_stop_that_failed_does_not_excuse_a_later_crash() -> None:
    async with house() as h:
        key = await h.create("run", "5")
        h.engine.faults["stop"] = EngineUnavailable("The engine does not answer")
        with pytest.raises(EngineUnavailable):
            await h.ask("stop_container", container_id=key)
        del h.engine.faults["stop"]
        await h.ask("start_container", container_id=key)
        h.kill()
        await h.until(lambda: h.names("container_crashed"))


async def test_an_error_format_that_fails_still_leaves_an_answer() -> None:
    def broken(_error: FlowManagerError, _at: Any) -> Any:
        raise ZeroDivisionError

    async with house() as h:
        h.manager._chosen = evolve(h.manager._chosen, error_format=broken)  # type: ignore[misc,type-var]
        answer = await h.manager.session(Client("test", "1")).answer("start_container", {})
        assert answer.body["error_type"] == "validation_error"


async def test_a_create_that_the_engine_never_heard_of_keeps_no_name() -> None:
    async with house() as h:
        h.engine.away = True
        await h.until_health("degraded")
        for _ in range(2):
            with pytest.raises(EngineUnavailable):
                await h.create("run", name="one")
        h.engine.away = False
        await h.until_health("healthy")
        key = await h.create("run", name="one")
        assert (await h.ask("get_container_status", container_id="one"))["container_id"] == key
