"""From the start of the service's process until it is ready, beside the bare imports.

The service is ready when ``GET /readyz`` says so. Beside it stands a Python that imports what a
program of this kind cannot do without, and ends. With DOCKER_HOST set, as the suite sets it, the
service is also started with that engine.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.error import HTTPError

from benchmarks.one import alone
from benchmarks.rows import Row
from tests.e2e.service import Service

BARE = "import docker, socketio, uvicorn"
#: Seconds until a service that does not become ready is given up.
PATIENCE = 60.0
TARGET = 2.0
#: Compiled code is kept, as any installation has it; some machines are told not to keep it.
KEPT = {"PYTHONDONTWRITEBYTECODE": ""}
LIMITS = {
    "process": "importing: python-socketio, Starlette, uvicorn, cattrs and our own modules",
    "docker": "the same, the SDK's import, and the first questions to the engine",
}


def rows(rounds: int, quick: bool) -> Iterator[Row]:
    """Measure; an engine is used where DOCKER_HOST names one."""
    yield measure("process", "", 1 if quick else rounds)
    if engine := os.environ.get("DOCKER_HOST", ""):
        yield measure("docker", engine, 1 if quick else rounds)


def measure(backend: str, engine: str, rounds: int) -> Row:
    """Start and import in turn, after one round that does not count."""
    ours, theirs = [], []
    with tempfile.TemporaryDirectory(prefix="fm-bench-") as folder:
        service = Service(Path(folder), backend, "python", engine, LOG_LEVEL="WARNING", **KEPT)
        with service:
            pass
        importing()
        for _ in range(rounds):
            ours.append(starting(service))
            theirs.append(importing())
    return Row(
        name=f"start of the service to ready, {backend} backend",
        beside=f'`python -c "{BARE}"`',
        unit="s",
        ours=ours,
        theirs=theirs,
        target=TARGET,
        at_least=False,
        limits=LIMITS[backend],
    )


def starting(service: Service) -> float:
    """Seconds from the start of the process until it is ready."""
    began = time.perf_counter()
    with service:
        wait_until_ready(service.url, began + PATIENCE)
        return time.perf_counter() - began


def wait_until_ready(url: str, end: float) -> None:
    """Ask until the service is ready.

    Raises:
        TimeoutError: it is not by then.
    """
    while time.perf_counter() < end:
        # An error, 503, until it is.
        with suppress(HTTPError), urllib.request.urlopen(f"{url}/readyz"):  # noqa: S310
            return
        time.sleep(0.002)
    raise TimeoutError(f"{url} is not ready")


def importing() -> float:
    """Seconds of a process that imports and ends."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", BARE], check=True, env={**os.environ, **KEPT})
    return time.perf_counter() - began


if __name__ == "__main__":
    alone(rows, __doc__)
