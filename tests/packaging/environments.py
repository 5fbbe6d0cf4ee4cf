"""Wheels of the repository and clean environments that hold chosen ones."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen
from packaging.utils import canonicalize_name

from tests.packaging.dists import DISTS, Dist
from tests.packaging.wheelhouse import CONSTRAINTS, run, wheelhouse

#: Seconds for one command of an installed environment, after which it is killed.
PATIENCE = 60.0


def build_wheels(folder: Path) -> dict[str, Path]:
    """Build every distribution's wheel; returns their files by the distributions' names."""
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    run([*pip, "--wheel-dir", folder, *(dist.folder for dist in DISTS)])
    found = {canonicalize_name(path.name.partition("-")[0]): path for path in folder.glob("*.whl")}
    assert found.keys() == {dist.name for dist in DISTS}
    return found


@frozen
class Outcome:
    """What a command of an environment came to."""

    code: int
    out: str
    err: str

    def works(self) -> bool:
        """Whether it did what it was for."""
        return self.code == 0 and "Traceback" not in self.out + self.err

    def refuses(self, *words: str) -> bool:
        """Whether it ended with exactly one line that holds all these words."""
        lines = [line for line in self.err.splitlines() if all(word in line for word in words)]
        return self.code not in (0, -9) and len(lines) == 1 and "Traceback" not in self.err


@frozen
class Environment:
    """A clean environment with chosen distributions, and a folder to use them in."""

    folder: Path

    @classmethod
    def make(cls, folder: Path, wheels: Sequence[Path]) -> Environment:
        """Make it; what else it needs is found by pip as for any user, in `wheelhouse`."""
        made = cls(folder)
        run([sys.executable, "-m", "venv", "--without-pip", folder / "env"])
        pip = [sys.executable, "-m", "pip", "--python", made.program("python"), "install"]
        # What is used is compiled then; most of it never is.
        found = ["--no-compile", "--no-index", f"--find-links={wheelhouse()}"]
        run([*pip, "--quiet", *found, f"--constraint={CONSTRAINTS}", *wheels])
        (folder / "here").mkdir()
        return made

    def program(self, name: str) -> Path:
        """The path of a program that was installed."""
        return self.folder / "env" / "bin" / name

    def variables(self) -> Mapping[str, str]:
        """A user without an engine, whose files all are in the environment's folder."""
        return {
            "PATH": f"{self.folder / 'env' / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "DOCKER_HOST": f"unix://{self.folder / 'no-engine.sock'}",
            "STATE_DIR": str(self.folder / "state"),
            "SOCKET_DIR": str(self.folder / "sockets"),
            "PORT": "0",
            "PYTHONUNBUFFERED": "1",
        }

    @contextmanager
    def start(self, name: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Start an installed program; it is killed when its time, or the block, is over."""
        process = subprocess.Popen(
            [self.program(name), *arguments],
            cwd=self.folder / "here",
            env=self.variables(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        killer = threading.Timer(PATIENCE, process.kill)
        killer.start()
        with process:
            try:
                yield process
            finally:
                killer.cancel()
                killer.join()
                process.kill()

    def use(self, name: str, *arguments: str) -> Outcome:
        """Run an installed program to its end."""
        with self.start(name, *arguments) as process:
            out, err = process.communicate()
        return Outcome(process.returncode, out, err)


def without(dist: Dist) -> list[str]:
    """Name all distributions but one."""
    return [other.name for other in DISTS if other.name != dist.name]
