"""From the engine's words to the core's: values and errors. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from subprocess import CompletedProcess
from typing import Any, Literal

from flow_manager_core import errors, models


def read_container(found: dict[str, Any]) -> models.Container:
    """Read what ``container inspect`` says of one container."""
    state, config = found["State"], found["Config"]
    what = models.ContainerState(state["Status"])
    return models.Container(
        id=found["Id"],
        name=found["Name"].removeprefix("/"),
        image=config["Image"],
        state=what,
        created=datetime.fromisoformat(found["Created"]),
        started_at=read_time(state["StartedAt"]),
        finished_at=None if what.alive else read_time(state["FinishedAt"]),
        exit_code=state["ExitCode"] if what.ended else None,
        oom_killed=state["OOMKilled"],
        error=state["Error"],
        labels=config["Labels"],
    )


def read_time(text: str) -> datetime | None:
    """Read a time; the year 1 stands for never."""
    at = datetime.fromisoformat(text)
    return at if at.year > 1 else None


def read_listed(line: str) -> models.ListedContainer:
    """Read an id, a name and a state."""
    container_id, name, state = line.split()
    return models.ListedContainer(container_id, name, models.ContainerState(state))


def read_lines(done: CompletedProcess[bytes]) -> list[models.LogLine]:
    """Read what ``logs --timestamps`` wrote to both its streams, oldest first."""
    lines = [*_lines("stdout", done.stdout), *_lines("stderr", done.stderr)]
    return sorted(lines, key=lambda line: line.timestamp)


def _lines(stream: Literal["stdout", "stderr"], output: bytes) -> Iterator[models.LogLine]:
    for entry in output.decode(errors="replace").removesuffix("\n").split("\n"):
        at, _, line = entry.partition(" ")
        if at:
            yield models.LogLine(datetime.fromisoformat(at), stream, line)


def named(told: str, about: str) -> errors.FlowManagerError:
    """Give a failure its name, by the engine's words."""
    words = told.lower()
    if "no such container" in words:
        return errors.ContainerNotFound(f"Container not found: {about}", container_id=about[:12])
    if "no such image" in words:
        return errors.ImageNotFound(f"Image not found: {about}", image=about)
    if "cannot connect" in words or "connection refused" in words:
        return errors.EngineUnavailable(f"The engine is not available: {told}")
    return errors.EngineError(f"The engine refuses: {told}")
