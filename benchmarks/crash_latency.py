"""How soon a client is told of a crash, and how soon flows answer after a manager's kill -9.

    python benchmarks/crash_latency.py [--rounds 5] [--crashes 10] [--json]

The engine is the one that DOCKER_HOST names, on this host (two clocks could not be compared);
without it the tests' choice. Each round kills the manager and starts it again, then makes a flow
end with exit code 3, again and again, by a message. Beside the manager listens a bare docker-py
program, in odd rounds subscribed before the manager, in even rounds after it: an engine serves its
subscribers one after the other.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import attrs
import socketio

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from benchmarks.bare_listener import BareListener, Died, bare_listener  # noqa: E402
from benchmarks.engine import engine_of_choice, image_of  # noqa: E402
from benchmarks.figures import Figures, figures, table  # noqa: E402
from tests.e2e.service import Service  # noqa: E402

FLOWS = (ROOT / "tests" / "e2e" / "flows" / "flow.py", ROOT / "benchmarks" / "leaving_flow.py")
#: Seconds that anything may take.
PATIENCE = 30.0
EXIT_CODE = 3
NAME = "crash-latency"


class Client:
    """A Socket.IO client that notes when it was told of what, in nanoseconds since the epoch."""

    def __init__(self) -> None:
        self._io = socketio.AsyncClient(reconnection=False)
        self._io.on("*", self._record)
        self._told: list[tuple[str, int]] = []
        #: When flows said that they leave, by their own clock.
        self.left: list[int] = []
        self._changed = asyncio.Event()

    async def connect(self, service: Service) -> None:
        """Connect to the service as it is now."""
        await self._io.connect(service.url, auth={"token": service.token})

    async def close(self) -> None:
        """Disconnect."""
        await self._io.disconnect()

    async def ask(self, request: str, **payload: Any) -> dict[str, Any]:
        """Send a request and return its answer, whatever it is."""
        answer: dict[str, Any] = await self._io.call(request, payload, timeout=PATIENCE)
        return answer

    async def told(self, name: str, count: int) -> int:
        """Wait until an event was told so many times; return when, for the last of them."""
        async with asyncio.timeout(PATIENCE):
            while len(times := [at for told, at in self._told if told == name]) < count:
                self._changed.clear()
                await self._changed.wait()
        return times[count - 1]

    async def _record(self, name: str, body: Any = None) -> None:
        self._told.append((name, time.time_ns()))
        if name == "message_received" and body["message"]["command"] == "leaving":
            self.left.append(body["message"]["data"])
        self._changed.set()


@attrs.frozen
class Samples:
    """What was measured, in milliseconds (crashes) and seconds (restarts)."""

    bare: list[float] = attrs.field(factory=list)
    told: list[float] = attrs.field(factory=list)
    after_bare: list[float] = attrs.field(factory=list)
    exit_to_bare: list[float] = attrs.field(factory=list)
    exit_to_known: list[float] = attrs.field(factory=list)
    exit_to_told: list[float] = attrs.field(factory=list)
    from_process: list[float] = attrs.field(factory=list)
    from_listening: list[float] = attrs.field(factory=list)

    def crash(self, died: Died, told_ns: int, left_ns: int) -> None:
        """Take one crash: the engine's word, the client's, and the flow's last."""
        self.bare.append((died.received_ns - died.engine_ns) / 1e6)
        self.told.append((told_ns - died.engine_ns) / 1e6)
        self.after_bare.append((told_ns - died.received_ns) / 1e6)
        self.exit_to_bare.append((died.received_ns - left_ns) / 1e6)
        self.exit_to_known.append((died.known_ns - left_ns) / 1e6)
        self.exit_to_told.append((told_ns - left_ns) / 1e6)

    def figures(self) -> list[Figures]:
        """Sum up."""
        ratios = [told / bare for told, bare in zip(self.told, self.bare, strict=True)]
        return [
            figures("die -> bare listener", "ms", self.bare),
            figures("die -> client told", "ms", self.told),
            figures("bare listener -> client told", "ms", self.after_bare),
            figures("client told : bare listener", "ratio", ratios),
            figures("exit -> bare listener", "ms", self.exit_to_bare),
            figures("exit -> bare listener has looked", "ms", self.exit_to_known),
            figures("exit -> client told", "ms", self.exit_to_told),
            figures("restart: process start -> first flow answers", "s", self.from_process),
            figures("restart: listening -> first flow answers", "s", self.from_listening),
        ]


class Bench:
    """One flow on one service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._container_id = ""
        self.samples = Samples()

    async def make_flow(self) -> None:
        """Create the flow that will crash, and wait for its channel."""
        client = Client()
        await client.connect(self._service)
        answer = await client.ask(
            "create_container",
            image=self._service.image,
            name=NAME,
            command=self._service.command("leaving_flow.py"),
            code_path=str(self._service.root / "code"),
            restart={"policy": "on-crash", "max_attempts": 100_000, "first_delay": 0, "jitter": 0},
            start=True,
        )
        if answer.get("error"):
            raise RuntimeError(answer["message"])
        self._container_id = answer["container_id"]
        await client.told("socket_connected", 1)
        await client.close()

    async def remove_flow(self) -> None:
        """Leave nothing behind."""
        client = Client()
        await client.connect(self._service)
        await client.ask("delete_container", container_id=NAME)
        await client.close()

    async def round(self, crashes: int, *, bare_first: bool) -> None:
        """Kill and restart the manager, then measure crashes."""
        await asyncio.to_thread(self._service.stop, signal.SIGKILL)
        with ExitStack() as stack:
            if bare_first:
                listener = stack.enter_context(self._listen())
            client = await self._restart()
            if not bare_first:
                listener = stack.enter_context(self._listen())
            for number in range(1, crashes + 1):
                await self._crash(client, listener, number)
            await client.close()

    def _listen(self) -> Any:
        return bare_listener(self._service.engine, self._container_id)

    async def _restart(self) -> Client:
        begun = time.monotonic()
        await asyncio.to_thread(self._service.start)
        listening = time.monotonic()
        client = Client()
        await client.connect(self._service)
        await self._flow_answers(client)
        answered = time.monotonic()
        self.samples.from_process.append(answered - begun)
        self.samples.from_listening.append(answered - listening)
        return client

    async def _crash(self, client: Client, listener: BareListener, number: int) -> None:
        message = {"command": "leave", "data": EXIT_CODE}
        await client.ask("send_message", container_id=NAME, message=message)
        told_ns = await client.told("container_crashed", number)
        await asyncio.to_thread(listener.wait_for, number, PATIENCE)
        # Its last message came before: it was read before the channel's end was.
        self.samples.crash(listener.deaths[number - 1], told_ns, client.left[number - 1])
        await client.told("container_recovered", number)
        await self._flow_answers(client)

    async def _flow_answers(self, client: Client) -> None:
        """Ask until there is an answer."""
        question = {"message": {"command": "echo", "data": 1}, "reply": True}
        async with asyncio.timeout(PATIENCE):
            # A question that finds no flow comes back at once: this asks some hundred times a
            # second, so that the moment of the first answer is known well enough.
            answer = await client.ask("send_message", container_id=NAME, **question)
            while answer.get("error"):
                await asyncio.sleep(0.005)
                answer = await client.ask("send_message", container_id=NAME, **question)


def put_code(folder: Path) -> None:
    """Put the flow's programs into the folder ``code`` of a service's own."""
    (folder / "code").mkdir()
    for program in FLOWS:
        shutil.copy(program, folder / "code")


async def measure(service: Service, rounds: int, crashes: int) -> Samples:
    """Run all rounds on a service that has been started."""
    bench = Bench(service)
    await bench.make_flow()
    try:
        for number in range(1, rounds + 1):
            await bench.round(crashes, bare_first=number % 2 == 1)
            sys.stderr.write(f"round {number} of {rounds} done\n")
    finally:
        if service.process is None:
            await asyncio.to_thread(service.start)
        await bench.remove_flow()
    return bench.samples


def main() -> None:
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="manager restarts (5)")
    parser.add_argument("--crashes", type=int, default=10, help="crashes in a round (10)")
    parser.add_argument("--image", default="", help="an image with python3 (made, if need be)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="fm-bench-"))
    try:
        put_code(folder)
        with engine_of_choice(folder) as engine:
            image = asked.image or image_of(engine)
            service = Service(folder, "docker", image, engine.url, LOG_LEVEL="WARNING")
            with service:
                found = asyncio.run(measure(service, asked.rounds, asked.crashes)).figures()
    finally:
        shutil.rmtree(folder)
    told = json.dumps([attrs.asdict(f) for f in found], indent=2) if asked.json else table(found)
    sys.stdout.write(f"{told}\n")


if __name__ == "__main__":
    main()
