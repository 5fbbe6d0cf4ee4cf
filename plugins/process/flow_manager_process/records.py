"""What is kept of a container on disk, and how it is shown."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any

from attrs import asdict, field, frozen

from flow_manager_core.models import CreatePlan
from flow_manager_process.identity import same_process

#: Exit code of a run whose end nobody saw: its keeper was killed, and Linux killed it with it.
LOST_CODE = 137
LOST_ERROR = "the program's keeper was killed, and the program with it"


def moment(nanoseconds: int) -> datetime:
    """Turn nanoseconds since the epoch into the wall clock's time, cut to microseconds."""
    seconds, rest = divmod(nanoseconds, 10**9)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1000)


@frozen(kw_only=True)
class ContainerRecord:
    """``container.json``: what the container was made with.

    Args:
        environment: the client's variables with the channel's over them; flows get these too.
        coded: whether the code folder is the working directory.
        created_ns: nanoseconds since the epoch.
    """

    id: str
    name: str
    image: str
    command: tuple[str, ...]
    environment: dict[str, str] = field(repr=False)
    working_dir: str | None
    coded: bool
    labels: dict[str, str]
    created_ns: int

    @classmethod
    def of(cls, plan: CreatePlan, container_id: str, created_ns: int) -> ContainerRecord:
        """Take from a plan what this backend honours."""
        spec = plan.spec
        return cls(
            id=container_id,
            name=spec.name,
            image=spec.image,
            command=spec.command or (),
            environment={**spec.environment, **plan.attachment.environment},
            working_dir=spec.working_dir,
            coded=spec.code_path is not None or spec.working_dir is None,
            labels=dict(plan.labels),
            created_ns=created_ns,
        )

    @classmethod
    def from_json(cls, text: str) -> ContainerRecord:
        """Read what `to_json` wrote.

        Raises:
            ValueError, TypeError, KeyError: it is something else.
        """
        found = json.loads(text)
        return cls(**{**found, "command": tuple(found["command"])})

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1)


@frozen(kw_only=True)
class RunRecord:
    """``run.json``: the latest run, as its keeper began it.

    Args:
        run: counts the container's runs.
        boot: the machine's boot in which it ran.
        keeper: the keeper's process number; `keeper_ticks` tells it from a later one's.
        pid: the program's, also its group's and session's.
    """

    run: int
    started_ns: int
    boot: str
    keeper: int
    keeper_ticks: int
    pid: int
    pid_ticks: int

    @classmethod
    def from_json(cls, text: str | bytes) -> RunRecord:
        """Read a keeper's words.

        Raises:
            ValueError, TypeError: it is something else.
        """
        return cls(**json.loads(text))

    def kept(self) -> bool:
        """Whether this run's keeper is there."""
        return same_process(self.keeper, self.keeper_ticks, self.boot, self.started_ns / 1e9)


@frozen(kw_only=True)
class ExitRecord:
    """``exit.json``: how a run ended.

    Args:
        code: the exit code; 128 and its number for a signal.
        output_lost: bytes that could not be recorded.
    """

    run: int
    code: int
    finished_ns: int
    output_lost: int = 0
    error: str = ""

    @classmethod
    def from_json(cls, text: str) -> ExitRecord:
        """Read a keeper's words.

        Raises:
            ValueError, TypeError: it is something else.
        """
        found: dict[str, Any] = json.loads(text)
        return cls(**found)

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def lost(run: RunRecord, error: str) -> ExitRecord:
    """Stand in for the end that nobody recorded: it is told as of now."""
    return ExitRecord(run=run.run, code=LOST_CODE, finished_ns=time.time_ns(), error=error)
