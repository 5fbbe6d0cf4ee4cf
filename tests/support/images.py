"""Images for the tests, made of Debian's packages, with no registry and no Dockerfile."""

from __future__ import annotations

import io
import os
import platform
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

CACHE = Path(__file__).parents[2] / ".cache"

FLOW_IMAGE = "flow-manager-test/python:2"
BUSYBOX_IMAGE = "flow-manager-test/busybox:1"

#: python3-minimal alone has no json; the second package follows Debian's Python version.
PACKAGES = "python3-minimal,libpython3-stdlib"

#: Where the host is no Debian.
DEFAULT_SUITE = "bookworm"

APPLETS = ("sh", "cat", "echo", "ls", "sleep", "true", "false", "kill", "id", "nc", "httpd", "env")


def import_image(client: Any, name: str, tar: Path, command: str) -> str:
    """Make an image of a tar of a root file system, unless the engine has it; return its name."""
    if not client.images(name):
        repository, _, tag = name.rpartition(":")
        client.import_image_from_file(
            str(tar), repository=repository, tag=tag, changes=[f'CMD ["{command}"]']
        )
    return name


def with_health_check(client: Any, name: str, base: str, instruction: str) -> str:
    """Make an image of another one that has a health check of its own; return its name.

    Args:
        instruction: as in a Dockerfile, without its first word.
    """
    if not client.images(name):
        repository, _, tag = name.rpartition(":")
        made = client.create_container(base)["Id"]
        client.commit(made, repository, tag, changes=[f"HEALTHCHECK {instruction}"])
        client.remove_container(made)
    return name


def debian_tar() -> Path:
    """A root file system with Python and its standard library: no shell, no coreutils."""
    suite = platform.freedesktop_os_release().get("VERSION_CODENAME", DEFAULT_SUITE)
    target = CACHE / f"{suite}-python3.tar"
    if not target.exists():
        CACHE.mkdir(exist_ok=True)
        part = target.with_suffix(f".{os.getpid()}.part.tar")
        command = ["mmdebstrap", "--quiet", "--variant=extract", f"--include={PACKAGES}"]
        subprocess.run([*command, suite, str(part)], check=True, stdin=subprocess.DEVNULL)
        part.rename(target)
    return target


def busybox_tar(folder: Path) -> Path:
    """A root file system of one static program and the names it is called by."""
    target = folder / "busybox.tar"
    with tarfile.open(target, "w") as tar:
        tar.add(str(shutil.which("busybox")), "bin/busybox")
        for applet in APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        for name in ("tmp", "etc"):
            made = tarfile.TarInfo(name)
            made.type, made.mode = tarfile.DIRTYPE, 0o1777
            tar.addfile(made)
        passwd = b"root:x:0:0::/:/bin/sh\n"
        entry = tarfile.TarInfo("etc/passwd")
        entry.size = len(passwd)
        tar.addfile(entry, io.BytesIO(passwd))
    return target


def _need(program: str, package: str) -> None:
    from tests.support.engine import missing

    if shutil.which(program) is None:
        missing(f"there is no {program} (Debian's package {package})")


@pytest.fixture(scope="session")
def flow_image(docker_engine: Any) -> str:
    """The name of an image with ``python3`` and its standard library, and nothing else."""
    with docker_engine.client() as client:
        if client.images(FLOW_IMAGE):
            return FLOW_IMAGE
        _need("mmdebstrap", "mmdebstrap")
        return import_image(client, FLOW_IMAGE, debian_tar(), "python3")


@pytest.fixture(scope="session")
def busybox_image(docker_engine: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of an image with a shell and a few tools."""
    _need("busybox", "busybox-static")
    with docker_engine.client() as client:
        tar = busybox_tar(tmp_path_factory.mktemp("busybox"))
        return import_image(client, BUSYBOX_IMAGE, tar, "sh")
