"""The doctor names each fault of a real engine, its images and its containers, and no other."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import docker
import pytest

from flow_manager_core.models import ContainerSpec
from flow_manager_core.terms import Terms, labels_for
from tests.doctor.machine import Fault, Machine, machine, named_and_no_other
from tests.doctor.test_doctor_faults import NOBODY, WITHOUT_RIGHTS, leave_socket, need_root
from tests.support.images import BUSYBOX_IMAGE

pytestmark = pytest.mark.docker
GONE = "flow-manager-test/gone:1"


@pytest.fixture(scope="module")
def client(docker_engine: Any, busybox_image: str) -> Iterator[Any]:
    with docker_engine.client() as made:
        yield made


@pytest.fixture
def ill(docker_engine: Any) -> Iterator[Machine]:
    with machine("docker") as made:
        made.environ = {"DOCKER_HOST": docker_engine.url, "DOCKER_CONFIG": str(made.root / "login")}
        yield made


@contextmanager
def container(
    client: Any, name: str, *command: str, image: str = BUSYBOX_IMAGE, **host: Any
) -> Iterator[str]:
    """A container as this manager makes them."""
    spec = ContainerSpec(image=image, name=name)
    made = client.create_container(
        image,
        command=list(command) or ["sleep", "600"],
        name=name,
        labels=labels_for(spec, host.pop("instance", "default"), Terms()),
        host_config=client.create_host_config(**host),
    )["Id"]
    try:
        yield made
    finally:
        client.remove_container(made, force=True)


@contextmanager
def altered(url: str, old: bytes, new: bytes) -> Iterator[str]:
    """Stand before an engine, and change one word of what it says for another of its length."""
    assert len(old) == len(new)
    with ExitStack() as stack, socket.socket(socket.AF_UNIX) as door:
        folder = Path(stack.enter_context(machine()).root)
        door.bind(str(folder / "altered.sock"))
        door.listen()
        serving = threading.Thread(target=_serve, args=(door, url, old, new))
        serving.start()
        yield f"unix://{folder}/altered.sock"
        door.shutdown(socket.SHUT_RDWR)
        serving.join()


def _serve(door: socket.socket, url: str, old: bytes, new: bytes) -> None:
    lines: list[threading.Thread] = []
    with suppress(OSError):
        while True:
            near, _ = door.accept()
            far = socket.socket(socket.AF_UNIX)
            far.connect(url.removeprefix("unix://"))
            for work in (partial(_pass, near, far), partial(_pass, far, near, old, new)):
                lines.append(threading.Thread(target=work))
                lines[-1].start()
    for line in lines:
        line.join()


def _pass(source: socket.socket, target: socket.socket, old: bytes = b"", new: bytes = b"") -> None:
    with suppress(OSError):
        while data := source.recv(1 << 20):
            target.sendall(data.replace(old, new) if old else data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
    if not old:
        return
    source.close()
    target.close()


def engine_away(_client: Any, ill: Machine) -> Iterator[None]:
    ill.environ["DOCKER_HOST"] = f"unix://{ill.root}/none.sock"
    yield


def no_engine_by_this_name(_client: Any, ill: Machine) -> Iterator[None]:
    ill.environ["DOCKER_HOST"] = "ftp://example.invalid"
    yield


def engine_hangs(_client: Any, ill: Machine) -> Iterator[None]:
    with closing(socket.socket(socket.AF_UNIX)) as deaf:
        deaf.bind(str(ill.root / "deaf.sock"))
        deaf.listen()
        ill.environ["DOCKER_HOST"] = f"unix://{ill.root}/deaf.sock"
        yield


def engine_not_permitted(_client: Any, ill: Machine) -> Iterator[None]:
    need_root("setpriv")
    with closing(socket.socket(socket.AF_UNIX)) as theirs:
        path = ill.root / "theirs.sock"
        theirs.bind(str(path))
        theirs.listen()
        os.chown(path, NOBODY, NOBODY)
        path.chmod(0o600)
        ill.environ["DOCKER_HOST"] = f"unix://{path}"
        ill.inside = WITHOUT_RIGHTS
        yield


def old_api(client: Any, ill: Machine, version: bytes) -> Iterator[None]:
    now = client.version(api_version=False)["ApiVersion"].encode()
    words = (b"Api-Version: " + now, b"Api-Version: " + version)
    with altered(ill.environ["DOCKER_HOST"], *words) as at:
        ill.environ["DOCKER_HOST"] = at
        yield


def engine_clock_off(client: Any, ill: Machine) -> Iterator[None]:
    word = f'"SystemTime":"{client.info()["SystemTime"][:3]}'.encode()
    with altered(ill.environ["DOCKER_HOST"], word, word[:-1] + b"1") as at:
        ill.environ["DOCKER_HOST"] = at
        yield


def engine_disk_full(client: Any, ill: Machine) -> Iterator[None]:
    need_root("mount", "umount")
    root = client.info()["DockerRootDir"]
    small = str(ill.root / "data").ljust(len(root), "/")[: len(root)]
    Path(small).mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small], check=True)
    word = b'"DockerRootDir":"%s"'
    try:
        with altered(ill.environ["DOCKER_HOST"], word % root.encode(), word % small.encode()) as at:
            ill.environ["DOCKER_HOST"] = at
            yield
    finally:
        subprocess.run(["umount", small], check=True)


def image_gone(client: Any, ill: Machine) -> Iterator[None]:
    client.tag(BUSYBOX_IMAGE, "flow-manager-test/gone", "1")
    with container(client, "orphan", image=GONE):
        client.remove_image(GONE, force=True)
        yield


def image_missing(_client: Any, ill: Machine) -> Iterator[None]:
    ill.options += ["--image", "flow:latets"]
    yield


def mount_gone(client: Any, ill: Machine) -> Iterator[None]:
    data = ill.root / "data"
    data.mkdir()
    with container(client, "storing", binds=[f"{data}:/data"]):
        data.rmdir()
        yield


def start_failed(client: Any, ill: Machine) -> Iterator[None]:
    with container(client, "unborn", "/no/such/program") as made:
        with pytest.raises(docker.errors.APIError):
            client.start(made)
        yield


def paused(client: Any, ill: Machine) -> Iterator[None]:
    with container(client, "frozen") as made:
        client.start(made)
        client.pause(made)
        yield


def login_damaged(_client: Any, ill: Machine) -> Iterator[None]:
    (ill.root / "login").mkdir()
    (ill.root / "login" / "config.json").write_text('{"auths": {')
    yield


def login_helper_missing(_client: Any, ill: Machine) -> Iterator[None]:
    (ill.root / "login").mkdir()
    (ill.root / "login" / "config.json").write_text('{"credsStore": "acme-keys"}')
    yield


def sockets_left_over(_client: Any, ill: Machine) -> Iterator[None]:
    leave_socket(ill.sockets, "ghost")
    yield


FAULTS = [
    ("no engine", "engine", "not available: No such file", engine_away, "error"),
    ("a wrong DOCKER_HOST", "engine", "DOCKER_HOST cannot", no_engine_by_this_name, "error"),
    ("the engine hangs", "engine", "did not answer", engine_hangs, "error"),
    ("no permission", "engine", "permission denied", engine_not_permitted, "error"),
    ("an old API", "docker-api", "1.30", partial(old_api, version=b"1.30"), "warning"),
    ("too old an API", "engine", "1.12 is too old", partial(old_api, version=b"1.12"), "error"),
    ("two clocks", "docker-clock", "differ by", engine_clock_off, "warning"),
    ("the engine's disk is full", "docker-disk", "is short: 1 MiB", engine_disk_full, "error"),
    ("an image is gone", "images", f"{GONE}, of which orphan", image_gone, "warning"),
    ("an image is missing", "images", "Image not found: flow:latets", image_missing, "error"),
    ("a mount is gone", "docker-mounts", "that storing", mount_gone, "error"),
    ("a start failed", "containers", "unborn (", start_failed, "error"),
    ("a container is paused", "containers", "is paused", paused, "warning"),
    ("a damaged login", "docker-credentials", "cannot be read", login_damaged, "error"),
    ("no helper", "docker-credentials", "docker-credential-acme", login_helper_missing, "error"),
    ("a stale socket", "sockets", "ghost.sock", sockets_left_over, "warning"),
]


@pytest.mark.parametrize(("name", "check", "words", "inject", "severity"), FAULTS)
def test_a_fault_is_named_with_what_to_do_and_nothing_else_is(
    name: str, check: str, words: str, inject: Any, severity: str, ill: Machine, client: Any
) -> None:
    named_and_no_other(Fault(name, check, words, partial(inject, client), severity), ill)


def test_a_wrong_password_of_a_registry_is_named(
    ill: Machine, client: Any, docker_registry: Any
) -> None:
    login = {"username": "flow", "password": docker_registry.password}
    client.pull(docker_registry.image, auth_config=login)
    (ill.root / "login").mkdir()
    ill.options += ["--image", docker_registry.image]
    docker_registry.login(ill.root / "login")
    assert ill.examined().complaining == set()
    docker_registry.login(ill.root / "login", "wrong-password")
    found = ill.examined()
    client.remove_image(docker_registry.image)
    assert found.complaining == {"docker-credentials"}
    (finding,) = found.amiss("docker-credentials")
    assert docker_registry.host in finding["found"]
    assert "docker login" in finding["remedy"]
    assert "wrong-password" not in str(found.body)


def test_a_folder_that_a_container_of_another_instance_has_is_left_alone(
    ill: Machine, client: Any
) -> None:
    place = leave_socket(ill.sockets, "theirs")
    leave_socket(ill.sockets, "ghost")
    with container(client, "theirs", instance="other", binds=[f"{place.folder}:/run/flow:ro"]):
        code, _ = ill.run("--fix")
        assert code == 0
        assert sorted(path.name for path in ill.sockets.iterdir()) == ["theirs.d", "theirs.sock"]
        assert place.socket.is_socket()


def test_a_folder_that_a_strange_container_has_mounted_is_left_alone(
    ill: Machine, client: Any
) -> None:
    place = leave_socket(ill.sockets, "strange")
    bind = client.create_host_config(binds=[f"{place.folder}:/run/flow:ro"])
    made = client.create_container(BUSYBOX_IMAGE, ["sleep", "600"], host_config=bind)["Id"]
    try:
        client.start(made)
        assert ill.run("--fix")[0] == 0
        assert place.socket.is_socket()
    finally:
        client.remove_container(made, force=True)


def test_looking_leaves_no_claim_and_no_folder(ill: Machine, client: Any) -> None:
    with container(client, "calm") as made:
        client.start(made)
        before = client.inspect_container(made)
        assert ill.examined().complaining == set()
        assert client.inspect_container(made) == before
    assert list(ill.root.iterdir()) == []
