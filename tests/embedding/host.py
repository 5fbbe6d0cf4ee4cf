"""An example's host app under a real uvicorn, in a process of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType

from attrs import define, field

EXAMPLES = Path(__file__).parents[2] / "examples" / "embedding"
TOKEN = "a token of some length"
START = 30.0
#: What Python says of things that were left open or half done.
UNCLEAN = ("Task was destroyed", "ResourceWarning", "Traceback", "never awaited", "unclosed")


@define
class Host:
    """``uvicorn MODULE:app`` in the examples' folder; arguments are uvicorn's."""

    module: str
    arguments: tuple[str, ...] = ()
    url: str = ""
    lines: list[str] = field(factory=list)
    process: subprocess.Popen[str] = field(init=False)
    _home: Path = field(init=False)
    _reader: threading.Thread = field(init=False)
    _told: threading.Event = field(factory=threading.Event)

    def __enter__(self) -> Host:
        # A short path: a socket's path holds 107 bytes, and pytest's folders are long.
        self._home = Path(tempfile.mkdtemp(prefix="fm-", dir="/tmp"))
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-X", "dev", "-m", "uvicorn", f"{self.module}:app"),
                *("--port", "0", *self.arguments),
            ],
            cwd=EXAMPLES,
            env={**os.environ, "APP_HOME": str(self._home), "APP_TOKEN": TOKEN},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        assert self._told.wait(START) and self.url, self.output
        return self

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if "Uvicorn running on" in line:
                self.url = line.split(" on ")[1].split()[0]
                self._told.set()
        self._told.set()

    @property
    def output(self) -> str:
        """All that it wrote."""
        return "\n".join(self.lines)

    def stop(self) -> float:
        """Ask it to end and wait for that; return the seconds it took."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        took = time.monotonic() - began
        self._reader.join(5)
        return took

    def assert_clean(self) -> None:
        """Nothing was left open or half done."""
        assert not [word for word in UNCLEAN if word in self.output], self.output

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.stop()
        assert self.process.stdout
        self.process.stdout.close()
        shutil.rmtree(self._home)
