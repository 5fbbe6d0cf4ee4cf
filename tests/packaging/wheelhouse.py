"""The wheels that ours need from outside, fetched once for all environments of the tests."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from packaging.utils import canonicalize_name

from tests.packaging.dists import DISTS, ROOT
from tests.support.images import CACHE

CONSTRAINTS = ROOT / "constraints.txt"


def run(command: Sequence[str | Path], **options: object) -> None:
    """Run a command that must succeed; its output is told when it does not."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}"


@cache
def wheelhouse() -> Path:
    """A folder that pip finds everything in but our own distributions; it needs no index then."""
    folder = CACHE / f"wheelhouse-{_digest()}"
    if not folder.exists():
        CACHE.mkdir(exist_ok=True)
        part = CACHE / f"wheelhouse.{os.getpid()}.part"
        pip = [sys.executable, "-m", "pip", "wheel", "--quiet", f"--constraint={CONSTRAINTS}"]
        run([*pip, "--wheel-dir", part, *_from_outside()])
        for stale in CACHE.glob("wheelhouse-*"):
            shutil.rmtree(stale)
        part.rename(folder)
    return folder


def _digest() -> str:
    """A name for what is in it: another one, and it is fetched anew."""
    parts = (sys.version, CONSTRAINTS.read_text(), _from_outside())
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


def _from_outside() -> list[str]:
    """The requirements of all our distributions, without each other."""
    needed = [each for dist in DISTS for each in (*dist.requirements, *dist.optional)]
    ours = {dist.name for dist in DISTS}
    return sorted({str(each) for each in needed if canonicalize_name(each.name) not in ours})
