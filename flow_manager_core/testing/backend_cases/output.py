"""Cases: what a program prints."""

from __future__ import annotations

from itertools import pairwise

from flow_manager_core.contracts import ContainerBackend
from flow_manager_core.testing.backend_cases.programs import BackendPrograms, Output

LINES: list[Output] = [
    ("stdout", "one"),
    ("stderr", "two, with ü and \x1b[31mred"),
    ("stdout", ""),
    ("stdout", "  four "),
    ("stderr", "five"),
]


class OutputCases(BackendPrograms):
    """`ContainerBackend.logs`."""

    async def _printed(self, backend: ContainerBackend) -> str:
        made = await self.started(backend, self.prints("a", LINES))
        await self.ended(backend, made)
        return made

    async def test_lines_come_with_their_streams_in_order(self, backend: ContainerBackend) -> None:
        lines = await backend.logs(await self._printed(backend), tail=None, since=None)
        for stream in ("stdout", "stderr"):
            expected = [text for name, text in LINES if name == stream]
            assert [e.line for e in lines if e.stream == stream] == expected
        assert all(a.timestamp <= b.timestamp for a, b in pairwise(lines))
        assert all(e.timestamp.utcoffset() is not None for e in lines)

    async def test_a_tail_is_the_last_lines(self, backend: ContainerBackend) -> None:
        made = await self._printed(backend)
        everything = list(await backend.logs(made, tail=None, since=None))
        for tail in (0, 1, 3, 100):
            expected = everything[-tail:] if tail else []
            assert list(await backend.logs(made, tail=tail, since=None)) == expected

    async def test_since_leaves_out_what_is_older(self, backend: ContainerBackend) -> None:
        made = await self._printed(backend)
        everything = list(await backend.logs(made, tail=None, since=None))
        since = everything[2].timestamp
        expected = [e for e in everything if e.timestamp >= since]
        assert list(await backend.logs(made, tail=None, since=since)) == expected
        assert list(await backend.logs(made, tail=1, since=since)) == expected[-1:]

    async def test_a_program_that_never_ran_has_printed_nothing(
        self, backend: ContainerBackend
    ) -> None:
        made = await backend.create(self.prints("a", LINES))
        assert list(await backend.logs(made.id, tail=None, since=None)) == []

    async def test_a_running_program_can_be_read(self, backend: ContainerBackend) -> None:
        made = await self.running(backend, self.runs("a"))
        assert [e.line for e in await backend.logs(made, tail=5, since=None)] == ["ready"]
