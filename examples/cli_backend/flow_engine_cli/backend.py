"""A container backend that drives an engine's command line: ``docker``, or one that is like it."""

import json
import math
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from subprocess import CompletedProcess

import anyio

from flow_engine_cli.following import follow
from flow_engine_cli.reading import named, read_container, read_lines, read_listed
from flow_engine_cli.settings import CliSettings
from flow_manager_core import contracts, errors, models


class CliBackend(contracts.ContainerBackend):
    def __init__(self, settings: CliSettings, instance: str) -> None:
        self._settings, self._label = settings, ("flow-manager.instance", instance)
        self._filter = f"--filter=label={'='.join(self._label)}"

    async def _run(
        self, *words: str, about: str = "", text: str = "", extra: float = 0.0
    ) -> CompletedProcess[bytes]:
        command = [*self._settings.program, *words]
        try:
            with anyio.fail_after(self._settings.timeout + extra):
                done = await anyio.run_process(command, input=text.encode(), check=False)
        except (TimeoutError, OSError) as error:
            raise errors.EngineUnavailable(f"The engine does not answer: {error}") from error
        if done.returncode:
            raise named(done.stderr.decode(errors="replace").strip(), about)
        return done

    async def _own(self, *words: str, extra: float = 0.0) -> CompletedProcess[bytes]:
        await self.inspect(words[-1])
        return await self._run(*words, about=words[-1], extra=extra)

    async def ping(self) -> models.EngineInfo:
        done = await self._run("version", "--format={{.Server.Version}}")
        return models.EngineInfo(self._settings.program[0], done.stdout.decode().strip())

    def unsupported(self, spec: models.ContainerSpec) -> Sequence[models.Fault]:
        asked = {f: getattr(spec, f) for f in ("volumes", "ports", "network", "working_dir")}
        asked["resources"] = spec.resources != models.Resources()
        asked["environment"] = any("\n" in value for value in spec.environment.values())
        return [models.Fault(field, "not supported") for field in asked if asked[field]]

    async def create(self, plan: models.CreatePlan) -> models.Container:
        options = [f"--name={plan.spec.name}", "--pull=never", "--init", "--log-opt=max-size=1m"]
        options += [f"--label={key}={value}" for key, value in plan.labels.items()]
        options += [f"--user={plan.spec.user}"] if plan.spec.user else []
        for mount in plan.attachment.mounts:
            options.append(f"--mount=type=bind,src={mount.source},dst={mount.target},readonly")
        variables = {**plan.spec.environment, **plan.attachment.environment}
        # By a file: everybody on the host can read arguments.
        text = "".join(f"{key}={value}\n" for key, value in variables.items())
        words = (*options, "--env-file=/dev/stdin", plan.spec.image, *(plan.spec.command or ()))
        done = await self._run("create", *words, about=plan.spec.image, text=text)
        return await self.inspect(done.stdout.decode().strip())

    async def start(self, container_id: str) -> None:
        await self._own("start", container_id)

    async def stop(self, container_id: str, timeout: float) -> None:
        await self._own("stop", "-t", str(math.ceil(timeout)), container_id, extra=timeout)

    async def remove(self, container_id: str) -> None:
        await self._own("rm", "-f", "-v", container_id)

    async def inspect(self, container_id: str) -> models.Container:
        done = await self._run("container", "inspect", container_id, about=container_id)
        found = read_container(json.loads(done.stdout)[0])
        if self._label not in found.labels.items():
            raise named("no such container", container_id)
        return found

    async def list(self) -> Sequence[models.ListedContainer]:
        shape = "--format={{.ID}} {{.Names}} {{.State}}"
        done = await self._run("ps", "-a", "--no-trunc", self._filter, shape)
        return [read_listed(line) for line in done.stdout.decode().splitlines()]

    async def logs(
        self, container_id: str, *, tail: int | None, since: datetime | None
    ) -> Sequence[models.LogLine]:
        done = await self._own("logs", "--timestamps", container_id)
        lines = [line for line in read_lines(done) if since is None or line.timestamp >= since]
        return lines if tail is None else lines[max(0, len(lines) - tail) :]

    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[models.EngineEvent]]:
        since, shape = f"--since={time.time():.6f}", "--format={{.ID}} {{.Status}}"
        return follow([*self._settings.program, "events", since, self._filter, shape])
