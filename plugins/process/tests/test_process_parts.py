"""Parts of the process backend that show best by themselves."""

from __future__ import annotations

import sys
from datetime import timedelta
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from flow_manager_core.models import EngineEvent, EngineEventKind
from flow_manager_core.settings import Settings
from flow_manager_process import plugin
from flow_manager_process.identity import boot_id
from flow_manager_process.output import BLOCK, read_output
from flow_manager_process.records import moment
from flow_manager_process.watchers import Watchers

pytestmark = pytest.mark.anyio


async def test_the_plugin_is_found_and_is_available_here() -> None:
    [point] = entry_points(group="flow_manager", name="process")
    assert point.load() is plugin
    [provider] = plugin.flow_manager_container_backends()
    assert provider.rank == 0
    assert provider.probe is not None
    context: Any = Settings()
    assert await provider.probe(context) is None


def test_output_is_read_across_blocks_and_files(tmp_path: Path) -> None:
    texts = [f"{n} " + "x" * (n % 300) for n in range(3000)]
    records = [f"{1000 * n} o {text}\n" for n, text in enumerate(texts)]
    (tmp_path / "output.1.log").write_text("".join(records[:1000]))
    (tmp_path / "output.log").write_text("".join(records[1000:]) + "3000000 o torn")
    assert (tmp_path / "output.log").stat().st_size > 2 * BLOCK
    lines = read_output(tmp_path, None, None)
    assert [e.line for e in lines][:3000] == texts
    tail = read_output(tmp_path, 2500, None)
    assert tail == lines[-2500:]
    since = moment(2000 * 1000)
    assert read_output(tmp_path, None, since) == lines[2000:]
    assert read_output(tmp_path, 5, since + timedelta(days=1)) == []


@pytest.mark.parametrize("junk", [b"", b"\n\n", b"12", b"x o y\n", b"12 z y\n", b"\xff\xfe\n"])
def test_torn_records_are_left_out(tmp_path: Path, junk: bytes) -> None:
    (tmp_path / "output.log").write_bytes(junk + b"\n1000 e fine\n")
    assert [e.line for e in read_output(tmp_path, None, None)] == ["fine"]


async def test_a_watcher_that_does_not_read_loses_its_stream_and_no_other() -> None:
    watchers = Watchers(queue=2)
    events = [
        EngineEvent(kind=EngineEventKind.STARTED, container_id=str(n), at=0.0) for n in range(3)
    ]
    async with watchers.watch() as slow, watchers.watch() as quick:
        for event in events:
            watchers.tell(event)
            assert await anext(quick) == event
        assert [e async for e in slow] == events[:2]


@pytest.mark.skipif(sys.platform != "linux", reason="boots have no names here")
async def test_flows_last_as_long_as_the_hosts_boot(process_backend: Any) -> None:
    told = await process_backend.ping()
    assert told.life == boot_id() != ""
    assert told.keeps_flows
