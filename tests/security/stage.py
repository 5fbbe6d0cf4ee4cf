"""A service with a canary at every place where a secret can be, for two lives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import pytest

from flow_manager_core import Settings
from tests.e2e.service import Service
from tests.security.canaries import Canary, missing, sweep
from tests.security.places import Place, engine_words, files, log_lines, processes, told
from tests.support.engine import DockerEngine

#: What every stage has. In a flow's own environment a secret is where it belongs.
TABLE = (
    Canary("variable", "", ("environ:flow",)),
    Canary("spoken by a flow", "", ("environ:flow", "client:container_crashed:*")),
    Canary("variable of a failed create", "", ()),
    Canary("variable that is not well formed", "", ()),
    Canary("token of the environment", "", ("environ:manager",)),
    Canary("wrong token", "", ()),
    Canary("password in an image's name", "", ()),
    Canary("message", "", ("client:*", "file:state/instances/*/journal.sqlite*")),
)
#: Settings that not every version has, each with the variable's value and the canary's home.
FURTHER: Mapping[str, str] = {"tokens": "reader:read:{path}"}


class SecretService(Service):
    """The service with places to fail at."""

    program = (str(Path(__file__).with_name("faulty_service.py")),)


class Stage:
    """What one test watches.

    Args:
        service: with folders of its own; it is started by `live`.
        engine: none for the process backend.
    """

    def __init__(self, service: Service, engine: DockerEngine | None) -> None:
        self.service = service
        self.engine = engine
        self.canaries: dict[str, Canary] = {}
        self.began = int(time.time())
        self._seen: list[Place] = []
        self._life = 0
        for each in TABLE:
            awkward = "variable" in each.name
            self.add(Canary.fresh(each.name, *each.homes, awkward=awkward))
        service._environ["TMPDIR"] = str(service.root / "tmp")
        service._environ["FLOW_MANAGER_RETRY_FOR"] = "0.2"
        service._environ["FLOW_MANAGER_SOCKETIO_CONNECT_TIMEOUT"] = "1"
        (service.root / "tmp").mkdir()
        self._add_further()

    def add(self, canary: Canary) -> Canary:
        """Watch for one more."""
        self.canaries[canary.name] = canary
        return canary

    def __getitem__(self, name: str) -> str:
        return self.canaries[name].value

    def file(self, name: str, content: str) -> str:
        """Put a file of the operator's, beside the service's own; return its path."""
        path = self.service.root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        path.chmod(0o600)
        return str(path)

    def _add_further(self) -> None:
        there = {each.name for each in attrs.fields(Settings)}
        for name in there & FURTHER.keys():
            canary = self.add(Canary.fresh(f"setting {name}", f"file:further/{name}"))
            path = self.file(f"further/{name}", canary.value)
            variable = f"FLOW_MANAGER_{name.upper()}"
            self.service._environ[variable] = FURTHER[name].format(path=path)

    def live(self, **environ: str) -> None:
        """Begin a life of the service with these variables beside the others."""
        self._life += 1
        self.service._environ.update(environ)
        self.service.start()

    def keep(self, who: str, *things: Any) -> None:
        """Keep what somebody was told."""
        self._seen += told(who, things)

    def look(self) -> None:
        """Look at the processes while the service runs."""
        assert self.service.process
        self._seen += processes(self.service.process.pid)

    def die(self) -> None:
        """End the life, and keep its log."""
        self.look()
        assert self.service.stop() == 0, self.service.lines[-20:]
        self._seen += log_lines(self._life, self.service.lines)
        self.service.lines.clear()

    def run(self, *commands: tuple[list[str], Mapping[str, str]]) -> None:
        """Run ``flow-manager`` with arguments and variables; keep what it prints.

        All in one process: each by itself would import everything anew.
        """
        done = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("commands.py"))],
            input=json.dumps(commands),
            cwd=self.service.root,
            env={**os.environ, **self._variables()},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        answers = [tuple(each) for each in json.loads(done.stdout)]
        for (arguments, _), (code, output) in zip(commands, answers, strict=True):
            assert code == (2 if "wrong" in str(arguments) else 0), (arguments, output)
        self.keep("command", *answers)

    def _variables(self) -> dict[str, str]:
        engine = {"DOCKER_HOST": self.engine.url} if self.engine else {}
        folders = {
            "STATE_DIR": str(self.service._home / "state"),
            "SOCKET_DIR": str(self.service.socket_dir),
        }
        return {**folders, **engine, **self.service._environ}

    def places(self) -> Iterator[Place]:
        """All that is to be searched."""
        yield from self._seen
        yield from files(self.service.root, self.service._home)
        if self.engine:
            yield from engine_words(self.engine, self.service.instance, self.began)

    def leaks(self) -> list[str]:
        """Search everything; a canary that was not seen at home is told of as well."""
        return sweep(self.places(), self.canaries) or missing(self.canaries)

    def check(self) -> None:
        """Find no leak."""
        if leaks := self.leaks():
            pytest.fail("\n".join(leaks), pytrace=False)

    def close(self) -> None:
        """End what still runs, and leave nothing."""
        if self.service.process is not None:
            with suppress(AssertionError, subprocess.TimeoutExpired):
                self.service.stop()
        self.service.__exit__(None, None, None)
