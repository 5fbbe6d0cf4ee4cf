"""Whether the credentials that ``docker login`` left can be read, and are taken."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from docker.auth import AuthConfig, resolve_repository_name
from docker.errors import DockerException

from flow_manager_core.errors import EngineError, EngineUnavailable
from flow_manager_core.findings import Finding, Scene, error, fine, in_thread, warning
from flow_manager_core.providers import ProviderContext
from flow_manager_docker.errors_map import AWAY_WORDS
from flow_manager_docker.onlooker import DockerOnlooker, onlook

LOG_IN = "Check Docker registry authentication: docker login"
REACH = "Check that the image's registry can be reached from the Docker Engine's host"


async def credentials(context: ProviderContext, scene: Scene) -> Sequence[Finding]:
    """Read Docker's own configuration, and try it on the registries that images came from."""
    path = config_path()
    content, found = await in_thread(_read, path)
    if found or not content:
        return found or [fine("none are kept")]
    images = {*scene.images, *(container.image for container in scene.containers)}
    registries = {registry for image in images if (registry := _registry(image))}
    async with onlook(context) as eyes:
        for registry in sorted(registries):
            found += await _try(eyes, AuthConfig(content), registry)
    return found or [fine(f"in {path}")]


def config_path() -> Path:
    """Where ``docker login`` keeps them, and the SDK looks for them."""
    folder = os.environ.get("DOCKER_CONFIG")
    return (Path(folder) if folder else Path.home() / ".docker") / "config.json"


def _read(path: Path) -> tuple[dict[str, Any], list[Finding]]:
    """Read the file as the SDK would, and say what the SDK keeps silent about."""
    try:
        content = json.loads(path.read_text())
        sound = isinstance(content, dict) and isinstance(content.get("auths", {}), dict)
        if not sound:
            raise ValueError("it holds no table of credentials")
    except FileNotFoundError:
        return {}, []
    except (OSError, ValueError) as problem:
        told = f"{path} cannot be read, so images are pulled without credentials: {problem}"
        return {}, [error(told, LOG_IN)]
    missing = [one for one in _helpers(content) if shutil.which(one) is None]
    told = f"named in {path} is not installed, so images are pulled without credentials"
    faults = [error(f"The helper {one} {told}", LOG_IN) for one in missing]
    if faults:
        return {}, faults
    try:
        auths = AuthConfig.parse_auth(content.get("auths", {}), raise_on_error=True)
    except (DockerException, ValueError) as problem:
        return {}, [error(f"{path} holds credentials that cannot be read: {problem}", LOG_IN)]
    stores = {key: content[key] for key in ("credsStore", "credHelpers") if key in content}
    return {"auths": auths, **stores}, []


def _helpers(content: Mapping[str, Any]) -> Iterator[str]:
    named = [content.get("credsStore"), *dict(content.get("credHelpers") or {}).values()]
    yield from sorted({f"docker-credential-{name}" for name in named if name})


def _registry(image: str) -> str:
    try:
        return str(resolve_repository_name(image)[0])
    except DockerException:  # the check of images tells of it
        return ""


async def _try(eyes: DockerOnlooker, known: AuthConfig, registry: str) -> list[Finding]:
    kept = await in_thread(known.resolve_authconfig, registry) or {}
    user, password = kept.get("username"), kept.get("password")
    if not (user and password):
        return []
    details = {"registry": registry}
    try:
        await eyes.log_in(registry, user, password)
    except EngineError as problem:
        away = any(word in problem.message.lower() for word in AWAY_WORDS)
        if away or isinstance(problem, EngineUnavailable):
            told = f"The registry {registry} cannot be asked: {problem.message}"
            return [warning(told, REACH, details=details)]
        told = f"The registry {registry} does not take the credentials of {user}"
        return [error(f"{told}: {problem.message}", LOG_IN, details=details)]
    return []
