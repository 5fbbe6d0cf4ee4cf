"""What it costs to lose nothing: writes that last, and the direct path beside a journal on disk.

    python -m benchmarks.durable [--rounds 5] [--quick]

Durable writes go through the journal's writer, many at a time, beside a bare loop that commits as
many rows in a group to SQLite, with the same promise (WAL, ``synchronous=FULL``) and nothing else.
The direct path is a manager's with ``journal = sqlite`` beside one with ``journal = memory``; the
flow is a process of its own, on a real Unix socket.
"""

from __future__ import annotations

import sqlite3
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from benchmarks.one import alone
from benchmarks.rows import Row
from flow_manager_core import FlowManager, Settings
from flow_manager_core.journal.writer import JournalWriter
from flow_manager_core.journals import DropThrough, Put, Table, number_key
from flow_manager_core.settings import OnExit
from flow_manager_core.sqlite.journal import SqliteJournal

#: Who writes at a time, and so what a group can hold; bytes of each value.
WRITERS, SIZE = 50, 200
WRITES, MESSAGES, QUESTIONS, ACCEPTED = 10_000, 5_000, 1_000, 3_000

#: The flow: sends as many messages as it is told to, and answers questions.
FLOW = """
import json, os, socket, struct
link = socket.socket(socket.AF_UNIX)
link.connect(os.environ["FLOW_SOCKET"])
file = link.makefile("rb")
def frame(command, data, **more):
    text = json.dumps({"command": command, "data": data, **more}).encode()
    return struct.pack(">I", len(text)) + text
while True:
    message = json.loads(file.read(struct.unpack(">I", file.read(4))[0]))
    if message["command"] == "burst":
        for number in range(message["data"]["count"]):
            link.sendall(frame("said", "x" * message["data"]["size"]))
        link.sendall(frame("done", None))
    elif "id" in message:
        link.sendall(frame("answer", message["data"], reply_to=message["id"]))
"""

Figures = Mapping[str, float]


def rows(rounds: int, quick: bool) -> Iterator[Row]:
    """Measure; `quick` sees whether it works at all."""
    with tempfile.TemporaryDirectory(prefix="durable-") as folder:
        yield from anyio.run(_durable_rows, Path(folder), rounds, WRITES // (10 if quick else 1))
    with tempfile.TemporaryDirectory(prefix="accepted-") as folder:
        yield anyio.run(_accepted_row, Path(folder), rounds, ACCEPTED // (10 if quick else 1))
    with tempfile.TemporaryDirectory(prefix="direct-") as folder:
        yield from anyio.run(_direct_rows, Path(folder), rounds, 10 if quick else 1)


async def _durable_rows(folder: Path, rounds: int, count: int) -> list[Row]:
    async with SqliteJournal.open(folder) as journal:
        writer = JournalWriter(journal, lambda _events: None)
        async with writer.running():
            with closing(_bare(folder / "bare.sqlite")) as base:
                ours = partial(_our_writes, writer, count)
                found = await _alternate(
                    {"ours": ours, "bare": partial(_bare_writes, base, count)}, rounds
                )
    return [
        Row(
            name=f"durable writes, {WRITERS} at a time",
            beside="bare SQLite, groups of as many",
            unit="a second",
            ours=found["ours"]["rate"],
            theirs=found["bare"]["rate"],
            target=0.5,
            limits="a task's turn for each write, and a thread's for each group",
        ),
        Row(
            name=f"durable writes, {WRITERS} at a time: the slowest of a hundred",
            beside="",
            unit="ms",
            ours=found["ours"]["late"],
            at_least=False,
            limits="two groups of the disk: the one under way, and the next",
        ),
    ]


async def _our_writes(writer: JournalWriter, count: int) -> Figures:
    value, numbers, times = b"x" * SIZE, iter(range(count)), []

    async def write() -> None:
        for number in numbers:
            began = time.perf_counter()
            await writer.write(Put(Table.OUTBOX, number_key(number), value))
            times.append(time.perf_counter() - began)

    began = time.perf_counter()
    async with anyio.create_task_group() as group:
        for _writer in range(WRITERS):
            group.start_soon(write)
    rate = count / (time.perf_counter() - began)
    await writer.write(DropThrough(Table.OUTBOX, number_key(count)))
    return {"rate": rate, "late": statistics.quantiles(times, n=100)[-1] * 1000}


async def _accepted_row(folder: Path, rounds: int, count: int) -> Row:
    (folder / "flow.py").write_text(FLOW)
    async with _manager(folder, "sqlite") as manager:
        with closing(_bare(folder / "bare.sqlite")) as base:
            ours = partial(_accepted, manager, count)
            found = await _alternate(
                {"ours": ours, "bare": partial(_bare_writes, base, count)}, rounds
            )
    return Row(
        name=f"durable messages accepted, {WRITERS} clients at once",
        beside="bare SQLite, groups of as many",
        unit="a second",
        ours=found["ours"]["rate"],
        theirs=found["bare"]["rate"],
        target=0.5,
        limits="Python for each request; each message is a row, a line of the feed and an answer",
    )


async def _accepted(manager: FlowManager, count: int) -> Figures:
    """Requests of a host application; the flow takes no durable messages, so all of them wait."""
    key, numbers = await _flow(manager), iter(range(count))
    message = {"command": "note", "data": "x" * SIZE}
    asked = {"container_id": key, "message": message, "delivery": "durable"}

    async def send() -> None:
        for _number in numbers:
            await manager.execute("send_message", asked)

    began = time.perf_counter()
    async with anyio.create_task_group() as group:
        for _sender in range(WRITERS):
            group.start_soon(send)
    return {"rate": count / (time.perf_counter() - began)}


def _bare(path: Path) -> sqlite3.Connection:
    base = sqlite3.connect(path, isolation_level=None)
    base.execute("PRAGMA journal_mode=WAL")
    base.execute("PRAGMA synchronous=FULL")
    base.execute("CREATE TABLE rows (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID")
    return base


async def _bare_writes(base: sqlite3.Connection, count: int) -> Figures:
    value = b"x" * SIZE
    began = time.perf_counter()
    for start in range(0, count, WRITERS):
        base.execute("BEGIN")
        for number in range(start, start + WRITERS):
            base.execute("INSERT INTO rows VALUES (?, ?)", (number_key(number), value))
        base.execute("COMMIT")
    rate = count / (time.perf_counter() - began)
    base.execute("DELETE FROM rows")
    return {"rate": rate}


async def _direct_rows(folder: Path, rounds: int, part: int) -> list[Row]:
    (folder / "flow.py").write_text(FLOW)
    async with _manager(folder, "sqlite") as on, _manager(folder, "memory") as off:
        found = await _alternate(
            {
                "sqlite": partial(_direct, on, MESSAGES // part, QUESTIONS // part),
                "memory": partial(_direct, off, MESSAGES // part, QUESTIONS // part),
            },
            rounds,
        )
    return [
        Row(
            name=f"direct path, {what}: messages a second of processor time",
            beside="journal = memory",
            unit="a second",
            ours=found["sqlite"][figure],
            theirs=found["memory"][figure],
            target=0.95,
            limits="a commit, and a thread's turn for it, each time that events have gathered",
        )
        for what, figure in (("one way", "heard"), ("question and answer", "answered"))
    ]


def _manager(folder: Path, journal: str) -> FlowManager:
    settings = Settings(
        backend="process",
        instance=journal,
        journal=journal,
        state_dir=folder / "state",
        socket_dir=folder / journal,
        volume_roots=(folder,),
        log_file="off",
        monitoring=False,
        on_exit=OnExit.STOP,
    )
    return FlowManager(settings)


async def _direct(manager: FlowManager, count: int, questions: int) -> Figures:
    """Processor time of this process, its threads too; not that of the flow."""
    key = await _flow(manager)
    ask: dict[str, Any] = {"container_id": key, "message": {"command": "echo", "data": "x" * SIZE}}
    burst = {"command": "burst", "data": {"count": count, "size": SIZE}}
    async with manager.subscribe() as events:
        began = time.process_time()
        await manager.execute("send_message", {**ask, "message": burst})
        async for event in events:
            if (
                event.name == "message_received"
                and manager.event_body(event)["message"].get("command") == "done"
            ):
                break
        heard = time.process_time() - began
        began = time.process_time()
        for _question in range(questions):
            await manager.execute("send_message", {**ask, "reply": True})
        answered = time.process_time() - began
    return {"heard": count / heard, "answered": questions / answered}


async def _flow(manager: FlowManager) -> str:
    """The manager's flow; made where there is none yet."""
    known = (await manager.execute("list_containers", {}))["containers"]
    if known:
        return str(known[0]["id"])
    script = manager.settings.volume_roots[0] / "flow.py"
    made = await manager.execute(
        "create_container", {"image": "python", "command": [str(script)], "start": True}
    )
    while True:
        told = await manager.execute("get_container_status", {"container_id": made["container_id"]})
        if told["socket_connected"]:
            return str(made["container_id"])
        await anyio.sleep(0.01)


async def _alternate(
    measures: Mapping[str, Callable[[], Awaitable[Figures]]], rounds: int
) -> dict[str, dict[str, list[float]]]:
    """Measure each in every round, a different one first each time; the first does not count."""
    names = list(measures)
    found: dict[str, dict[str, list[float]]] = {name: {} for name in names}
    for number in range(rounds + 1):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            figures = await measures[name]()
            for figure, value in figures.items() if number else ():
                found[name].setdefault(figure, []).append(value)
    return found


if __name__ == "__main__":
    alone(rows, __doc__)
