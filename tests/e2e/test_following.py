"""Following output through the real service: nothing missing, nothing twice, nothing unbounded."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import anyio
import psutil
import pytest
from anyio import to_thread

from flow_manager_core.log_following import OF_ALL, OF_ONE
from tests.e2e.client import Client
from tests.e2e.reader import LARGEST, reading
from tests.e2e.service import Service

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
#: The cursor before all lines.
BEGINNING = "1970-01-01T00:00:00Z/0"
#: Writes numbered lines for about two seconds, then the last one, and stays.
WRITER = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
run = time.time_ns()
for number in range(2000):
    print(f"{run} {number}")  # whole, as a kill may come between two writes
    if number % 10 == 0:
        time.sleep(0.005)
print(f"{run} last")
time.sleep(1000)
"""
#: Writes so many lines of 1000 bytes as fast as they are taken.
FLOOD = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
for number in range(int(sys.argv[1])):
    sys.stdout.write(f"{number:06d} ".ljust(1000, "x") + "\\n")
sys.stdout.flush()
print("last", flush=True)
time.sleep(1000)
"""
#: A line of 1 MB, bytes that are no text, and an end without the end of a line.
ODD = r"""
import os
os.write(1, b"a" * 1_000_000 + b"\n")
os.write(1, b"\xff\xfe caf\xc3\xa9 \x1b[31mred\x1b[0m \x00\x07 \xe2\x80\xa8\n")
os.write(2, b"no end")
"""
ODD_LINE = "\ufffd\ufffd caf\u00e9 \x1b[31mred\x1b[0m \x00\x07 \u2028"


@pytest.fixture(scope="module")
def processes(tmp_path_factory: Any) -> Iterator[Service]:
    """A service whose engine keeps all that a flood writes."""
    root = tmp_path_factory.mktemp("following")
    limit = {"FLOW_MANAGER_PROCESS_OUTPUT_LIMIT": str(400 * MIB), "LOG_LEVEL": "INFO"}
    with Service(root, "process", "python", "", **limit) as running:
        yield running


async def writer(client: Client, program: str, *arguments: str) -> str:
    command = client.service.command("-u" if program is WRITER else "-B", "-c", program, *arguments)
    return await client.create(start=True, command=command)


async def test_a_client_that_comes_back_gets_every_line_once_through_restarts_of_all(
    service: Service,
) -> None:
    lines: list[str] = []
    cursor = ""

    async def read_on(key: str, enough: Any) -> None:
        nonlocal cursor
        async with reading(service) as reader:
            reader.lines, reader.cursor = lines, cursor
            assert not (await reader.follow(key)).get("error")
            await reader.until(enough)
            cursor = reader.cursor

    async with Client(service) as client:
        key = await writer(client, WRITER)
        for count in (200, 500, 900):
            await read_on(key, lambda count=count: len(lines) >= count)
        await client.ask("restart_container", container_id=key)
        await read_on(key, lambda: _runs(lines) == 2)
        client._made.clear()
    await to_thread.run_sync(service.stop)
    await to_thread.run_sync(service.start)
    await read_on(key, lambda: lines[-1].endswith(" last"))
    async with Client(service) as client:
        await client.ask("delete_container", container_id=key)
    first, second = (_numbers(lines, run) for run in dict.fromkeys(map(_run_of, lines)))
    written = [number for number in first if number != "last"]  # it may have come to its end
    assert written == list(map(str, range(len(written))))
    assert first[len(written) :] in ([], ["last"])
    assert len(written) >= 900
    assert second == [*map(str, range(2000)), "last"]


def _run_of(line: str) -> str:
    return line.split(maxsplit=1)[0]


def _runs(lines: list[str]) -> int:
    return len(set(map(_run_of, lines)))


def _numbers(lines: list[str], run: str) -> list[str]:
    return [line.split()[1] for line in lines if _run_of(line) == run]


async def test_a_reader_that_stops_costs_the_service_little_and_nobody_else_notices(
    processes: Service,
) -> None:
    count = 24_000
    assert processes.process
    memory = psutil.Process(processes.process.pid).memory_info
    async with reading(processes) as deaf, Client(processes) as client:
        key = await writer(client, FLOOD, str(count))
        deaf.cursor = BEGINNING
        await deaf.follow(key)
        before = memory().rss
        async with reading(processes) as other:
            other.cursor = BEGINNING
            await other.follow(key)
            most, slowest = before, 0.0
            while other.lines[-1:] != ["last"]:
                read = len(other.lines)
                await other.until(lambda read=read: len(other.lines) > read)
                began = time.monotonic()
                await client.ask("list_containers")
                slowest = max(slowest, time.monotonic() - began)
                most = max(most, memory().rss)
        assert most - before < 64 * MIB
        assert slowest < 5
        # It reads on, and has missed nothing.
        await deaf.until(lambda: deaf.lines[-1:] == ["last"])
        for reader in (other, deaf):
            assert [line[:6] for line in reader.lines[:-1]] == [f"{n:06d}" for n in range(count)]


async def test_long_lines_and_bytes_that_are_no_text_arrive_as_the_engine_keeps_them(
    service: Service,
) -> None:
    async with reading(service) as reader, Client(service) as client:
        key = await client.create(command=service.command("-c", ODD))
        await reader.follow(key)
        await client.ask("start_container", container_id=key)
        await reader.until(lambda: {ODD_LINE, "no end"} <= set(reader.lines))
        long = "".join(line for line in reader.lines if line.startswith("a"))
        # Docker's plugin cuts a line at 64 KiB, the process backend makes several of 16 KiB of it.
        cut = service.backend == "docker"
        assert len(long) == (64 * 1024 if cut else 1_000_000)
        assert len(reader.lines) == 2 + (1 if cut else -(-1_000_000 // (16 * 1024)))
        assert reader.largest < LARGEST


async def test_all_followings_that_there_may_be_are_told_everything(processes: Service) -> None:
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(Client(processes))
        key = await writer(client, WRITER)
        readers = [
            await stack.enter_async_context(reading(processes)) for _ in range(OF_ALL // OF_ONE)
        ]
        for reader in readers:
            for _ in range(OF_ONE):
                reader.cursor = BEGINNING
                assert not (await reader.follow(key)).get("error")
        beyond = await stack.enter_async_context(reading(processes))
        refused = await beyond.follow(key)
        assert (refused["error_type"], refused["details"]["retryable"]) == ("system_error", True)

        async def read(reader: Any) -> None:
            await reader.until(lambda: sum(line.endswith("last") for line in reader.lines) == 16)

        async with anyio.create_task_group() as group:
            for reader in readers:
                group.start_soon(read, reader)
        for reader in readers:
            assert len(reader.lines) == OF_ONE * 2001
