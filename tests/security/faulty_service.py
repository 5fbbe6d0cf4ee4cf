"""The real service, where some creates fail as nobody expects, with all that is known in the text.

Run as ``flow-manager`` is. What fails depends on the container's name. Nothing of this is in the
service itself: one method of Docker's client and one of the process backend are replaced, in this
process alone.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import docker
import requests

from flow_manager_cli.main import main
from flow_manager_core.models import CreatePlan
from flow_manager_docker.backend import DockerBackend
from flow_manager_process.backend import ProcessBackend
from flow_manager_process.launcher import Launch

#: An unexpected fault of a backend, whose text quotes what it was given.
PROVOKED = "provoked-fault"
#: An engine that quotes the request in its refusal; a connection that quotes it in its end.
ECHOED, BROKEN = "echoed-request", "broken-connection"


def provoke(create: Callable[..., Any]) -> Callable[..., Any]:
    async def created(self: Any, plan: CreatePlan) -> Any:
        if plan.spec.name != PROVOKED:
            return await create(self, plan)
        try:
            raise KeyError(plan.spec)
        except KeyError:
            raise RuntimeError(f"provoked: {plan!r}") from None

    return created


def echo(create: Callable[..., Any]) -> Callable[..., Any]:
    def created(self: Any, config: Any, name: str, *rest: Any) -> Any:
        if name == ECHOED:
            response = requests.Response()
            response.status_code, response.reason = 400, "Bad Request"
            told = f"invalid request: {json.dumps(config)} {config!r} {config['Env']}"
            raise docker.errors.APIError("Bad Request", response, told)
        if name == BROKEN:
            raise requests.exceptions.InvalidURL(f"cannot send {config!r}")
        return create(self, config, name, *rest)

    return created


def exploding(launch: Callable[..., Any]) -> Callable[..., Any]:
    def request(self: Launch) -> Any:
        if f"{PROVOKED}-start" in self.arguments:
            raise RuntimeError(f"provoked: {self!r}")
        return launch(self)

    return request


if __name__ == "__main__":
    for kind in (DockerBackend, ProcessBackend):
        kind.create = provoke(kind.create)  # type: ignore[method-assign]
    made = docker.APIClient.create_container_from_config
    docker.APIClient.create_container_from_config = echo(made)
    Launch.request = exploding(Launch.request)  # type: ignore[method-assign]
    sys.exit(main())
