"""The engine that is measured, and its images."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support.engine import DockerEngine, choose
from tests.support.images import (
    BUSYBOX_IMAGE,
    FLOW_IMAGE,
    busybox_tar,
    debian_tar,
    import_image,
)


class NoEngine(Exception):
    """There is no engine here, and none can be started."""


@contextmanager
def engine_of_choice(logs: Path) -> Iterator[DockerEngine]:
    """The engine that DOCKER_HOST names, else the tests' choice.

    Args:
        logs: a folder for the log of an engine that is started.

    Raises:
        NoEngine: there is none.
    """
    if url := os.environ.get("DOCKER_HOST"):
        yield DockerEngine(url)
        return
    try:
        choice = choose(logs)
    except (pytest.skip.Exception, pytest.fail.Exception) as missing:
        raise NoEngine(str(missing)) from None
    with choice as chosen:
        yield chosen


@contextmanager
def any_engine() -> Iterator[DockerEngine]:
    """The same for a module that keeps no log.

    Raises:
        NoEngine: there is none.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="fm-bench-"))
        yield stack.enter_context(engine_of_choice(Path(folder)))


def image_of(engine: DockerEngine) -> str:
    """An image with Python, made if need be."""
    with engine.client() as client:
        if client.images(FLOW_IMAGE):
            return FLOW_IMAGE
        return import_image(client, FLOW_IMAGE, debian_tar(), "python3")


def small_image_of(engine: DockerEngine) -> str:
    """An image with a shell and a few tools, made if need be."""
    with tempfile.TemporaryDirectory(prefix="fm-bench-") as folder, engine.client() as client:
        return import_image(client, BUSYBOX_IMAGE, busybox_tar(Path(folder)), "sh")
