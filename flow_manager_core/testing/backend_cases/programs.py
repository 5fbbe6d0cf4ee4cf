"""What the cases build on: an opened backend, and plans of programs that behave in known ways."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import anyio
import pytest

from flow_manager_core.contracts import ContainerBackend
from flow_manager_core.errors import ContainerNotFound
from flow_manager_core.log import get_log
from flow_manager_core.models import Attachment, Container, ContainerSpec, CreatePlan
from flow_manager_core.providers import BackendProvider, ProviderContext
from flow_manager_core.settings import Settings

T = TypeVar("T")

Output = tuple[Literal["stdout", "stderr"], str]

RUNS = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(int(sys.argv[1])))
print("ready", flush=True)
while True:
    signal.pause()
"""
STUBBORN = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
while True:
    signal.pause()
"""
EXITS = "import sys, time; time.sleep(float(sys.argv[2])); sys.exit(int(sys.argv[1]))"
DIES = "import os, sys, time; os.kill(os.getpid(), int(sys.argv[1])); time.sleep(60)"
PRINTS = """
import json, sys
for stream, line in json.loads(sys.argv[1]):
    print(line, file=getattr(sys, stream), flush=True)
"""
TELLS = "import os, sys; [print(os.environ.get(key)) for key in sys.argv[1:]]"
REMEMBERS = """
import os, sys, tempfile
mark = os.path.join(tempfile.gettempdir(), sys.argv[1])
if os.path.exists(mark):
    os.remove(mark)
    print("kept")
else:
    open(mark, "x").close()
    print("new")
"""
COUNTS = """
import os
number = int(open("runs").read()) + 1 if os.path.exists("runs") else 1
with open("runs", "w") as file:
    file.write(str(number))
print(number)
"""
SHOWS = "import sys; print(open(sys.argv[1]).read())"


class BackendPrograms:
    """The hooks of the suite. Set the attributes; override a method where they do not suffice."""

    #: The backend's provider record; `open` enters its factory.
    provider: ClassVar[BackendProvider]
    #: The provider's settings; ``None``: its settings class with its defaults.
    settings: ClassVar[object] = None
    #: An image that the engine has, with Python 3 in it.
    image: ClassVar[str] = "python"
    #: An image that the engine does not have.
    absent_image: ClassVar[str] = "flow-manager-suite/no-such-image:none"
    #: What comes before Python's own arguments in a command.
    python: ClassVar[tuple[str, ...]] = ("python3",)
    #: A command that no start can run.
    impossible_command: ClassVar[tuple[str, ...]] = ("/no/such/program",)
    #: Where code is put.
    working_dir: ClassVar[str | None] = "/app"
    #: Fields of a spec that `unsupported` names when they are given.
    unsupported_fields: ClassVar[frozenset[str]] = frozenset()
    #: Seconds that a condition may take to come true.
    patience: ClassVar[float] = 15.0

    core: Settings
    code_path: Path

    pytestmark: pytest.MarkDecorator = pytest.mark.anyio

    def open(self, core: Settings) -> AbstractAsyncContextManager[ContainerBackend]:
        """Give a backend for ``core.instance``; the context is one life of it.

        Args:
            core: `instance` is new for each test, `state_dir` a folder of the test's own.
        """
        settings = self.provider.settings_class() if self.settings is None else self.settings
        log = get_log(f"backend.{self.provider.name}")
        return self.provider.factory(ProviderContext(settings=settings, core=core, log=log))

    @pytest.fixture(autouse=True)
    def _core(self, tmp_path: Path) -> None:
        instance = f"suite-{secrets.token_hex(4)}"
        self.core = Settings(instance=instance, state_dir=tmp_path / "state")
        self.code_path = tmp_path / "code"
        self.code_path.mkdir()

    @pytest.fixture
    async def backend(self, _core: None) -> AsyncIterator[ContainerBackend]:
        async with self.open(self.core) as backend:
            try:
                yield backend
            finally:
                with anyio.CancelScope(shield=True):
                    await self.clear(backend)

    @pytest.fixture
    async def lives(self, _core: None) -> AsyncIterator[None]:
        """For cases that open backends themselves: what they leave is removed at the end."""
        yield
        async with self.open(self.core) as backend:
            await self.clear(backend)

    async def clear(self, backend: ContainerBackend) -> None:
        """Remove all containers of the instance."""
        for left in await backend.list():
            try:
                await backend.remove(left.id)
            except ContainerNotFound:
                continue

    def plan(self, name: str, *command: str, **spec: Any) -> CreatePlan:
        """Build a plan as the manager would, with its labels.

        Args:
            name: unique within the test.
            command: the container's command.
            spec: further fields of the spec, and `attachment` for the channel's variables.
        """
        full = f"{self.core.instance}-{name}"
        attachment = spec.pop("attachment", {})
        labels = {
            "flow-manager.managed": "true",
            "flow-manager.instance": self.core.instance,
            "flow-manager.name": full,
            **spec.get("labels", {}),
        }
        made = ContainerSpec(**{"image": self.image, "name": full, "command": command, **spec})
        return CreatePlan(spec=made, labels=labels, attachment=Attachment(attachment))

    def script(self, name: str, code: str, *args: str, **spec: Any) -> CreatePlan:
        """Build a plan of a Python program; `args` are its arguments."""
        return self.plan(name, *self.python, "-c", code, *args, **spec)

    def runs(self, name: str, *, stop_code: int = 0) -> CreatePlan:
        """A program that prints ``ready``, runs, and exits with `stop_code` on SIGTERM."""
        return self.script(name, RUNS, str(stop_code))

    def stubborn(self, name: str) -> CreatePlan:
        """A program that prints ``ready``, runs, and ignores SIGTERM."""
        return self.script(name, STUBBORN)

    def exits(self, name: str, code: int, *, after: float = 0.0) -> CreatePlan:
        """A program that exits with `code`, `after` so many seconds."""
        return self.script(name, EXITS, str(code), str(after))

    def dies(self, name: str, signal: int) -> CreatePlan:
        """A program that ends itself by a signal."""
        return self.script(name, DIES, str(signal))

    def prints(self, name: str, lines: Sequence[Output]) -> CreatePlan:
        """A program that prints `lines` in this order and exits with code 0."""
        return self.script(name, PRINTS, json.dumps(lines))

    def tells(self, name: str, *keys: str, **spec: Any) -> CreatePlan:
        """A program that prints the variables named by `keys`, ``None`` for one not set."""
        return self.script(name, TELLS, *keys, **spec)

    def remembers(self, name: str) -> CreatePlan:
        """A program that prints ``new`` when first run and ``kept`` when run again.

        It knows by a file of its own, outside the code folder.
        """
        mark = f"{self.core.instance}-{name}"
        return self.script(name, REMEMBERS, mark, **self.coded())

    def counts(self, name: str) -> CreatePlan:
        """A program that counts its runs in a file where it works, and prints the number."""
        return self.script(name, COUNTS)

    def shows(self, name: str, file: str) -> CreatePlan:
        """A program that prints a file of its code folder."""
        return self.script(name, SHOWS, file, **self.coded())

    def says(self, text: str, *, code: int) -> Sequence[str]:
        """A command beside a program, which prints a text and exits with `code`."""
        return ("python3", "-c", f"print({text!r}); raise SystemExit({code})")

    def lingers(self) -> Sequence[str]:
        """A command that takes longer than a minute."""
        return ("python3", "-c", "import time; time.sleep(67)")

    def cannot_start(self, name: str) -> CreatePlan:
        """A container that can be created, but whose start fails."""
        return self.plan(name, *self.impossible_command)

    def coded(self) -> dict[str, Any]:
        """The fields of a spec that has code."""
        return {"working_dir": self.working_dir, "code_path": str(self.code_path)}

    async def started(self, backend: ContainerBackend, plan: CreatePlan) -> str:
        """Create and start; return the id."""
        made = await backend.create(plan)
        await backend.start(made.id)
        return made.id

    async def running(self, backend: ContainerBackend, plan: CreatePlan) -> str:
        """Create and start a program that prints ``ready``, and wait until it has."""
        made = await self.started(backend, plan)

        async def ready() -> bool:
            lines = await backend.logs(made, tail=None, since=None)
            return any(line.line == "ready" for line in lines)

        await self.until(ready)
        return made

    async def ended(self, backend: ContainerBackend, container_id: str) -> Container:
        """Wait until the latest run has ended; return what `inspect` says then."""

        async def over() -> Container | None:
            seen = await backend.inspect(container_id)
            return seen if seen.state.ended else None

        return await self.until(over)

    async def output(self, backend: ContainerBackend, container_id: str) -> list[str]:
        """Wait for the end of the run; return the lines it printed."""
        await self.ended(backend, container_id)
        return [e.line for e in await backend.logs(container_id, tail=None, since=None)]

    async def until(self, check: Callable[[], Awaitable[T | None]]) -> T:
        """Ask again and again until the answer is true, for `patience` seconds at most."""
        with anyio.fail_after(self.patience):
            while not (found := await check()):
                await anyio.sleep(0.02)
            return found
