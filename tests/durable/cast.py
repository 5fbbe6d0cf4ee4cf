"""Everybody in the test of promises: a manager, a flow, clients; whoever is killed comes back."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.chaos import outside
from tests.chaos.manager import Manager
from tests.support.restartable_engine import RestartableEngine

PROGRAMS = Path(__file__).parent / "programs"
SDK = Path(__file__).parents[2] / "sdk" / "flow_manager_sdk"
#: Seconds for one thing to come right.
PATIENCE = 60.0


class Player:
    """A client's program, begun again after each kill."""

    def __init__(self, program: str, *arguments: str) -> None:
        self._command = [sys.executable, str(PROGRAMS / program), *arguments]
        self._process = self._begin()

    def _begin(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._command)

    def kill(self) -> None:
        """Kill it, and begin its next life."""
        self.end()
        self._process = self._begin()

    def end(self) -> None:
        """End it for good."""
        self._process.kill()
        self._process.wait()

    @property
    def done(self) -> bool:
        """Whether it came to its own end.

        Raises:
            AssertionError: to a bad one.
        """
        code = self._process.poll()
        assert code in (None, 0), f"{self._command} ended with {code}"
        return code == 0


class Notes:
    """A file of lines that somebody else appends to, each read once.

    Args:
        read: makes of a line what it says.
    """

    def __init__(self, path: Path, read: Callable[[str], Any]) -> None:
        self._path = path
        self._read = read
        self._offset = 0
        self._entries: list[Any] = []

    def entries(self) -> list[Any]:
        """All whole lines so far; a kill may have cut the last one, which is then written anew."""
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._offset)
                new = file.read()
            whole = new[: new.rfind(b"\n") + 1]
            self._offset += len(whole)
            self._entries += [self._read(line) for line in whole.decode().splitlines()]
        return self._entries


class Cast:
    """All of them, with what they noted.

    Args:
        engine: ``None`` on the process backend.
        total: numbers to be sent each way.
    """

    def __init__(self, manager: Manager, engine: RestartableEngine | None, total: int) -> None:
        self.manager = manager
        self.engine = engine
        self.total = total
        self.home = manager.root / "home"
        self.diary = manager.root / "diary"
        self.kills: Counter[str] = Counter()
        self.container_id = ""
        self._effects = Notes(self.diary / "effects", int)
        self._logs: dict[Path, Notes] = {}

    @contextmanager
    def playing(self) -> Iterator[None]:
        """Begin; at the end nobody is left."""
        self.home.mkdir()
        self.diary.mkdir(mode=0o777)
        self.diary.chmod(0o777)
        code = self.manager.root / "code"
        shutil.copytree(PROGRAMS, code)
        shutil.copytree(SDK, code / SDK.name, ignore=shutil.ignore_patterns("__pycache__"))
        self._tell_where()
        self.container_id = self._create(code)
        token = self.manager.token
        with ExitStack() as stack:
            sender = ("sender.py", str(self.home), token, self.container_id, str(self.total))
            self.sender = Player(*sender)
            stack.callback(self.sender.end)
            self.listeners = [self.home / f"log-{number}" for number in (1, 2)]
            self._logs = {log: Notes(log, json.loads) for log in self.listeners}
            self.players = {
                log: Player("listener.py", str(self.home), token, str(log))
                for log in self.listeners
            }
            for player in self.players.values():
                stack.callback(player.end)
            yield

    def _create(self, code: Path) -> str:
        inside = "/diary" if self.engine else str(self.diary)
        payload: dict[str, Any] = {
            "image": self.manager.image,
            "command": self.manager.command("diary.py"),
            "code_path": str(code),
            "environment": {"DIARY": inside, "DIARY_TOTAL": str(self.total)},
            "restart": {"policy": "always", "max_attempts": 1000},
            "start": True,
        }
        if self.engine:
            payload |= {"volumes": {str(self.diary): "/diary"}, "working_dir": "/code"}
        answer = self.request("create_container", payload)
        return str(answer["container_id"])

    def request(self, name: str, payload: dict[str, Any]) -> Any:
        """Ask through the command line."""
        done = subprocess.run(
            [
                *(sys.executable, "-m", "flow_manager_cli.main", "request", name),
                *(json.dumps(payload), "--url", self.manager.url),
            ],
            env={**os.environ, "FLOW_MANAGER_TOKEN": self.manager.token},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def kill_manager(self) -> None:
        """Kill the manager, and start it again."""
        self.manager.kill()
        self.manager.start()
        self._tell_where()

    def kill_flow(self) -> None:
        """Kill the flow's first process."""
        seen = outside.containers(self.manager).get(self.container_id)
        if seen is not None and seen.pid:
            with suppress(ProcessLookupError):
                os.kill(seen.pid, signal.SIGKILL)

    def kill_client(self) -> None:
        """Kill the sender and a listener."""
        if not self.sender.done:
            self.sender.kill()
        next(iter(self.players.values())).kill()
        self.players = dict(reversed(self.players.items()))

    def kill_engine(self) -> None:
        """Kill the engine, and start it again."""
        assert self.engine
        self.engine.kill()
        self.engine.start()

    def _tell_where(self) -> None:
        part = self.home / "url.part"
        part.write_text(self.manager.url)
        part.replace(self.home / "url")

    def progress(self) -> tuple[int, int]:
        """Numbers that the flow has noted, and that the first listener was told."""
        return len(self.effects()), min(len(self.said(log)) for log in self.listeners)

    def effects(self) -> list[int]:
        """The numbers that the flow noted, in its order."""
        return self._effects.entries()

    def deliveries(self) -> list[tuple[int, int]]:
        """What was delivered to it: the place in the manager's order, and the number."""
        pairs = (line.split() for line in _lines(self.diary / "deliveries"))
        return [(int(seq), int(number)) for seq, number in pairs]

    def accepted(self) -> list[int]:
        """The numbers whose acceptance the sender was told of."""
        return [int(line.split()[0]) for line in _lines(self.home / "accepted")]

    def log(self, path: Path) -> list[dict[str, Any]]:
        """What a listener was told."""
        return self._logs[path].entries()

    def said(self, path: Path) -> list[int]:
        """The flow's numbers among it."""
        told = self.log(path)
        said = (one["body"]["message"] for one in told if one["event"] == "message_received")
        return [message["data"] for message in said if message["command"] == "said"]

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for something to come right; it may take `PATIENCE` without any progress."""
        last, since = self.progress(), time.monotonic()
        while not condition():
            now = self.progress()
            if now != last:
                last, since = now, time.monotonic()
            stuck = time.monotonic() - since > PATIENCE
            assert not stuck, f"{what} did not come about; progress {now}\n{self.manager.tail(80)}"
            time.sleep(0.1)


def _lines(path: Path) -> list[str]:
    """The whole lines; a kill may have cut the last one."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return []
    return text[: text.rfind("\n") + 1].splitlines()
