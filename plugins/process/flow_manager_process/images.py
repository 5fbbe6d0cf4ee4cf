"""What an image means here, and the surroundings that its program gets."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from flow_manager_core.errors import ImageNotFound

PYTHON = "python"
HINT = 'Give the absolute path of an executable, a name that is found on PATH, or "python"'


def base_environment(names: Sequence[str]) -> dict[str, str]:
    """Take the named variables from the manager's own; PATH is always there."""
    found = {name: os.environ[name] for name in names if name in os.environ}
    return {"PATH": os.defpath, **found}


def resolve(image: str, search_path: str) -> str:
    """Find the executable.

    Raises:
        ImageNotFound: there is none.
    """
    if image == PYTHON:
        return sys.executable
    found = _absolute(image) if os.sep in image else shutil.which(image, path=search_path)
    if found is None:
        raise ImageNotFound(f"No such executable: {image}", hint=HINT, image=image)
    return found


def _absolute(image: str) -> str | None:
    path = Path(image)
    return image if path.is_absolute() and path.is_file() else None


def environment(image: str, base: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """Build a program's environment; its output is line by line where that is ours to say."""
    extra = {"PYTHONUNBUFFERED": "1"} if image == PYTHON else {}
    return {**base, **extra, **own}
