"""One chaos run: rounds of work and trouble, and the judgement after each."""

from __future__ import annotations

import time
from collections import Counter, deque
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import docker
from anyio import to_thread

from tests.chaos import outside
from tests.chaos.actors import Actor, Lost, Recorder
from tests.chaos.crashes import Crashes
from tests.chaos.hands import Hand
from tests.chaos.invariants import SETTLED, disagreements
from tests.chaos.manager import Manager
from tests.chaos.model import DOWN, GONE, UP, Flow
from tests.chaos.plan import CLIENTS, FLOWS, Round, Step
from tests.chaos.world import World
from tests.support.restartable_engine import RestartableEngine

FLOW = Path(__file__).parents[1] / "e2e" / "flows" / "flow.py"
HEARS = "signal.signal(signal.SIGTERM, lambda *_: os._exit(0))"
POLICIES = ("on-crash", "always", "on-crash", "always", "never", "on-crash")

#: Seconds for which all must stay right before it counts.
STEADY = 1.0
#: Descriptors, and threads, that a manager which was busy keeps at most: its pools.
KEPT = 20
#: What a Docker Engine (20.10) says of a container whose start its own end cut off: it never starts
#: that one again, and the manager's hint is to make it anew.
NEVER_AGAIN = "already exists"
#: What the manager's log never holds, whatever the engine does.
FAULTS = ("Traceback", "unexpected fault", "must not", "never retrieved", "not be put right")


class Run:
    """The state of one run."""

    def __init__(self, manager: Manager, engine: RestartableEngine) -> None:
        self._manager = manager
        self._world = World(manager, engine, self._outage)
        self._crashes = Crashes(self._world)
        self._recorder = Recorder(manager, self._told)
        self._actors = [Actor(manager) for _ in range(CLIENTS)]
        self._judge = Actor(manager)
        self._complaints: list[str] = []
        self._journal: deque[str] = deque(maxlen=120)
        self._counts: Counter[str] = Counter()
        self._began = time.monotonic()
        self._hands = [
            Hand(flow, self._world, self._crashes, self._code, self._complain)
            for flow in self._flows()
        ]

    @staticmethod
    def _flows() -> list[Flow]:
        return [
            Flow(f"chaos-{number}", POLICIES[number % len(POLICIES)], deaf=number % 3 == 1)
            for number in range(FLOWS)
        ]

    def _code(self, version: int, deaf: bool) -> str:
        folder = self._manager.root / f"code-{version}-{'deaf' if deaf else 'hears'}"
        if not folder.exists():
            folder.mkdir()
            text = FLOW.read_text().replace("VERSION = 1", f"VERSION = {version}")
            assert HEARS in text
            text = text.replace(HEARS, "signal.signal(15, signal.SIG_IGN)") if deaf else text
            (folder / "flow.py").write_text(text)
        return str(folder)

    def _outage(self) -> None:
        for hand in self._hands:
            hand.flow.outage()

    def _complain(self, text: str) -> None:
        self._note(f"WRONG: {text}")
        self._complaints.append(text)

    def _note(self, text: str) -> None:
        self._journal.append(f"{time.monotonic() - self._began:7.2f} {text}")

    def journal(self) -> str:
        """What was done lately, and what was told."""
        return "\n".join(self._journal)

    def summary(self) -> str:
        """How much was done."""
        return ", ".join(f"{count} {what}" for what, count in sorted(self._counts.items()))

    async def _told(self, name: str, body: Any = None) -> None:
        if name == "container_crashed":
            self._note(f"told: {name} {body['container_id']} {body['exit_code']}")
            self._counts["crashes told"] += 1
            self._crashes.tell(body["container_id"])
        elif name == "recovery_gave_up":
            self._complain(f"recovery gave up: {body}")
        elif name in ("status_changed", "container_recovered"):
            self._note(f"told: {name} {body}")

    async def record(self) -> None:
        """Follow what is told, until cancelled."""
        try:
            await self._recorder.run()
        finally:
            with anyio.CancelScope(shield=True):
                await self._recorder.close()

    async def round(self, planned: Round) -> None:
        """Work, trouble, and then all must come right."""
        began = time.monotonic()
        self._note("--- a round begins")
        async with anyio.create_task_group() as group:
            for event in planned.events:
                group.start_soon(self._befall, event, began)
            for number, script in enumerate(planned.scripts):
                actor = self._actors[number % CLIENTS]
                group.start_soon(self._follow, self._hands[number], script, actor, began)
            group.start_soon(self._read, began)
        self._note("--- the trouble is over")
        await self._settle()

    async def _befall(self, event: Any, began: float) -> None:
        await anyio.sleep(max(0.0, began + event.at - time.monotonic()))
        self._note(f"{event.trouble} ({event.lasts} s)")
        await self._world.befall(event)
        self._counts[str(event.trouble)] += 1
        self._note(f"over: {event.trouble}")

    async def _follow(
        self, hand: Hand, script: tuple[Step, ...], actor: Actor, began: float
    ) -> None:
        for step in script:
            await anyio.sleep(max(0.0, began + step.at - time.monotonic()))
            async with self._world.step():
                await hand.do(step, actor)
            self._counts["steps"] += 1
            flow = hand.flow
            self._note(
                f"{flow.name} {step.action} {step.number}: {sorted(flow.wishes)}"
                f" {sorted(flow.versions)}"
            )

    async def _read(self, began: float) -> None:
        """A client that only looks."""
        while time.monotonic() < began + 5:
            try:
                answer = await self._judge.ask("list_containers")
                if answer.get("error") and not answer["details"]["retryable"]:
                    self._complain(f"list_containers failed: {answer}")
            except Lost:
                pass
            await anyio.sleep(0.2)

    async def _settle(self) -> None:
        """Wait until nothing is wrong and nothing changes; then what was in doubt is known."""
        end = time.monotonic() + SETTLED
        steady_since, last = time.monotonic(), None
        wrong: list[str] = []
        while time.monotonic() < end + STEADY:
            wrong, found = await self._wrong()
            if wrong or found != last:
                steady_since, last = time.monotonic(), found
            if time.monotonic() > end and wrong:
                break
            if time.monotonic() - steady_since >= STEADY:
                self._accept(found)
                self._note("--- all is right")
                return
            await anyio.sleep(0.1)
        raise AssertionError("it did not come right:\n  " + "\n  ".join(wrong or ["unsteady"]))

    async def _wrong(self) -> tuple[list[str], dict[str, tuple[str, int | None]]]:
        """What is wrong now, and what each flow is."""
        if self._complaints:
            raise AssertionError("\n  ".join(["it is wrong for good:", *self._complaints]))
        told = self._crashes.false() + [line for line in self._manager.lines if _faulty(line)]
        if told:
            raise AssertionError("\n  ".join(["it was told falsely:", *told]))
        try:
            wrong = [*self._crashes.missed(), *await disagreements(self._manager, self._judge)]
            found = {}
            for hand in self._hands:
                found[hand.flow.name], fault = await self._look(hand.flow)
                wrong += fault
        except Lost:
            return ["the manager is away"], {}
        return wrong, found

    async def _look(self, flow: Flow) -> tuple[tuple[str, int | None], list[str]]:
        """What a flow is, and what is wrong with that."""
        seen = await to_thread.run_sync(outside.named, self._manager, flow.name)
        if seen is not None and not seen.pid and NEVER_AGAIN in seen.error:
            await self._give_up(flow, seen)
        actual = GONE if seen is None else UP if seen.pid else DOWN
        if actual not in flow.wishes:
            return (actual, None), [f"{flow.name} is {actual}, expected {sorted(flow.wishes)}"]
        if actual != UP:
            return (actual, None), []
        answer = await self._judge.ask(
            "send_message",
            container_id=flow.name,
            message={"command": "info"},
            reply=True,
            timeout=2,
        )
        if answer.get("error"):
            return (actual, None), [f"{flow.name} does not answer: {answer['message']}"]
        version = answer["reply"]["data"]["version"]
        if version not in flow.versions:
            told = f"{flow.name} has version {version}, expected {sorted(flow.versions)}"
            return (actual, version), [told]
        return (actual, version), []

    async def _give_up(self, flow: Flow, seen: outside.Seen) -> None:
        """Do what the hint says, from outside."""
        self._note(f"the engine never starts {flow.name} again: {seen.error}")
        self._counts["given up by the engine"] += 1
        with suppress(docker.errors.APIError):  # it is being removed, or the engine is at it
            await to_thread.run_sync(outside.by_engine, self._manager, seen.id, outside.remove)
            flow.acknowledged(GONE)

    def _accept(self, found: dict[str, tuple[str, int | None]]) -> None:
        for hand in self._hands:
            hand.flow.found(*found[hand.flow.name])

    async def finish(self) -> None:
        """Delete everything; what the manager holds then is what a fresh one holds."""
        for hand in self._hands:
            await self._judge.ask("delete_container", container_id=hand.flow.name)
            hand.flow.acknowledged(GONE)
        await self._settle()
        for actor in self._actors:
            await actor.close()
        assert not list(self._manager.socket_dir.iterdir())
        worn = await to_thread.run_sync(outside.held, self._manager.pid)
        await to_thread.run_sync(self._manager.kill)
        await to_thread.run_sync(self._manager.start)
        await self._settle()
        fresh = await to_thread.run_sync(outside.held, self._manager.pid)
        print(f"held after the run: {worn}, by a fresh manager: {fresh}")
        for what, count in worn.items():
            assert count - fresh[what] <= KEPT, f"the manager kept {what}"
        await self._judge.close()


def _faulty(line: str) -> bool:
    return any(fault in line for fault in FAULTS)
