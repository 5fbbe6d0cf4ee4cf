"""The yardstick: nothing but docker-py's event stream, in a process of its own.

Prints a line of JSON for each ``die`` of one container: the engine's own time of it, the time at
which it got here, and the time at which an inspect and the tail of the log had come that were asked
for then; all nanoseconds since the epoch. Its first line says that it listens.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import docker
from attrs import asdict, field, frozen

#: Lines of the log, as many as the manager tells of a crash.
TAIL = 20


@frozen
class Died:
    """One ``die`` event: its time by the engine, and when the listener had it, and knew all."""

    engine_ns: int
    received_ns: int
    known_ns: int


@frozen
class BareListener:
    """A listener that runs; `deaths` grows as it hears."""

    deaths: list[Died] = field(factory=list)
    _arrived: threading.Condition = field(factory=threading.Condition)

    def hear(self, died: Died) -> None:
        """Take one."""
        with self._arrived:
            self.deaths.append(died)
            self._arrived.notify_all()

    def wait_for(self, count: int, timeout: float) -> None:
        """Wait until so many deaths were heard.

        Raises:
            TimeoutError: they were not, within `timeout` seconds.
        """
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self.deaths) >= count, timeout):
                raise TimeoutError(f"{len(self.deaths)} of {count} die events came")


@contextmanager
def bare_listener(engine: str, container_id: str) -> Iterator[BareListener]:
    """Run the yardstick; it listens when the context is entered.

    Args:
        engine: as DOCKER_HOST has it.
        container_id: whose deaths count.
    """
    command = [sys.executable, __file__, engine, container_id]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "listening\n"
        listener = BareListener()
        reader = threading.Thread(target=_read, args=(process, listener))
        reader.start()
        try:
            yield listener
        finally:
            process.kill()
            reader.join()


def _read(process: subprocess.Popen[str], listener: BareListener) -> None:
    assert process.stdout
    for line in process.stdout:
        listener.hear(Died(**json.loads(line)))


def listen(engine: str, container_id: str) -> None:
    """Print what dies, until killed."""
    with docker.APIClient(base_url=engine, version="auto", timeout=60) as client:
        filters = {"container": container_id, "event": "die"}
        events = client.events(filters=filters, decode=True)
        _say("listening")
        for event in events:
            received = time.time_ns()
            client.inspect_container(container_id)
            client.logs(container_id, tail=TAIL)
            died = Died(event["timeNano"], received, time.time_ns())
            _say(json.dumps(asdict(died)))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    listen(*sys.argv[1:])
