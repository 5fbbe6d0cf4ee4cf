"""Checks that ask the engine, whichever it is, through the backend's onlooker."""

from __future__ import annotations

from collections.abc import Sequence

from flow_manager_core.doctor.study import Study
from flow_manager_core.errors import ImageNotFound
from flow_manager_core.findings import Finding, Scene, error, fine, warning


async def engine(study: Study, _scene: Scene) -> Sequence[Finding]:
    """Ask whether it is there; its failure says why it is not, with the guide's remedy."""
    info = await study.eyes().ping()
    return [fine(f"{info.name} {info.version}", name=info.name, version=info.version)]


async def images(study: Study, _scene: Scene) -> Sequence[Finding]:
    """Whether a create would find its image."""
    eyes = study.eyes()
    used = {container.image: container.name for container in study.containers}
    found = []
    for image in sorted({*used, *study.images}):
        if not await eyes.has_image(image):
            found.append(_missing(image, used.get(image)))
    told = f"{len(used)} images of {len(study.containers)} containers are present"
    return found or [fine(told)]


def _missing(image: str, container: str | None) -> Finding:
    details = {"image": image, "container": container}
    if container is None:
        return error(f"Image not found: {image}", ImageNotFound.default_hint, details=details)
    told = (
        f"Image not found: {image}, of which {container} was made;"
        " that container cannot be made anew"
    )
    return warning(told, ImageNotFound.default_hint, details=details)
