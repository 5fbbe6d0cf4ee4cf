"""What a create must not be: payloads, each with the fields that the one answer must name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import frozen

#: Linux's limit for one variable, and one byte more.
TOO_LONG = "x" * (128 * 1024 + 1)


@frozen
class Row:
    """A payload, without image and name where it brings none, and the fields that are faulty."""

    payload: dict[str, Any]
    faulty: tuple[str, ...]


def _row(*faulty: str, **payload: Any) -> Row:
    return Row(payload, faulty)


def _names() -> dict[str, Row]:
    bad = ["../x", "a/b", "", "a", "-a", ".a", "ümlaut", "a\nb", "a\0b", "a" * 300, "a b", "a:b", 7]
    return {f"name {name!r:.20}": _row("name", name=name) for name in bad}


def _images() -> dict[str, Row]:
    bad = ["", "--privileged", " a", "a\n", "a\0", "x" * 600, None]
    return {f"image {image!r:.20}": _row("image", image=image) for image in bad}


def _privileges() -> dict[str, Row]:
    wanted: dict[str, Any] = {
        "privileged": True,
        "cap_add": ["SYS_ADMIN"],
        "devices": ["/dev/sda"],
        "device_cgroup_rules": ["a *:* rwm"],
        "security_opt": ["seccomp=unconfined"],
        "pid": "host",
        "pid_mode": "host",
        "ipc": "host",
        "uts": "host",
        "userns_mode": "host",
        "cgroupns": "host",
        "cgroup_parent": "/",
        "runtime": "other",
        "sysctls": {"kernel.core_pattern": "|/x"},
        "mounts": [{"Type": "bind", "Source": "/", "Target": "/host"}],
        "volumes_from": ["other"],
        "volume_driver": "local",
        "tmpfs": {"/x": "exec"},
        "links": ["other"],
        "extra_hosts": ["a:1.2.3.4"],
        "dns": ["1.2.3.4"],
        "oom_score_adj": -1000,
        "oom_kill_disable": True,
        "ulimits": [],
        "log_config": {"Type": "none"},
        "read_only": False,
        "init": False,
        "entrypoint": ["x"],
        "publish_host": "0.0.0.0",
        "HostConfig": {"Privileged": True},
    }
    rows = {f"field {name}": _row(name, **{name: value}) for name, value in wanted.items()}
    rows["a mount option"] = _row(
        "volumes./srv.propagation", volumes={"/srv": {"bind": "/d", "propagation": "shared"}}
    )
    return rows


def _identity() -> dict[str, Row]:
    labels = ["flow-manager.instance", "com.docker.compose.project", "io.docker.x"]
    rows = {f"label {one}": _row(f"labels.{one}", labels={one: "x"}) for one in labels}
    for one in ("FLOW_SOCKET", "FLOW_SECRET", "SOCKET_PATH"):
        rows[f"variable {one}"] = _row(f"environment.{one}", environment={one: "/x"})
    return {
        **rows,
        "variable with =": _row("environment.A=...", environment={"A=B": "1"}),
        "variable without a name": _row("environment", environment={"": "1"}),
        "variable with a NUL": _row("environment.A", environment={"A": "1\0"}),
        "variable that is too long": _row("environment.A", environment={"A": TOO_LONG}),
        "user with a slash": _row("user", user="../root"),
        "user with a line's end": _row("user", user="root\n"),
        "the host's network": _row("network", network="host"),
        "a container's network": _row("network", network="container:other"),
        "a network that is a flag": _row("network", network="--net"),
    }


def _numbers() -> dict[str, Row]:
    return {
        "port -1": _row("ports.80", ports={"80": -1}),
        "port 65536": _row("ports.80", ports={"80": 65536}),
        "port that is a text": _row("ports.80", ports={"80": "81"}),
        "port that is true": _row("ports.80", ports={"80": True}),
        "container port 0": _row("ports.0", ports={"0": 0}),
        "container port with an address": _row("ports.0.0.0.0:80", ports={"0.0.0.0:80": 80}),
        "a port twice": _row("ports", ports={"80": 0, "80/tcp": 0}),
        "a host port twice": _row("ports", ports={"80": 9000, "81": 9000}),
        "empty command": _row("command", command=[]),
        "command with a NUL": _row("command.0", command=["a\0"]),
        "no memory": _row("resources.memory", resources={"memory": 1}),
        "endless processors": _row("resources.cpus", resources={"cpus": 1e9}),
        "swap": _row("resources.swap", resources={"swap": 1}),
    }


def _targets() -> dict[str, Row]:
    bad = [
        *("/", "//", "/proc", "/proc/sys", "/sys/fs/cgroup", "/dev", "/dev/shm", "/run/flow"),
        *("/run/flow/flow.sock", "/run//flow/x", "d", "", "/a/../proc", "/a:b", "/a\0", 7, None),
    ]
    rows = {f"target {one!r}": _row("volumes./srv", volumes={"/srv": one}) for one in bad}
    rows["a target twice"] = _row("volumes", volumes={"/srv": "/d", "/opt": "/d/"})
    return rows


def rows_of_form() -> dict[str, Row]:
    """What is refused on any backend, wherever the manager runs."""
    several = _row(
        *("cap_add", "environment.FLOW_SOCKET", "image", "name", "ports.80", "volumes./srv"),
        image="",
        name="../x",
        ports={"80": -1},
        volumes={"/srv": "/proc"},
        environment={"FLOW_SOCKET": "x"},
        cap_add=["ALL"],
    )
    rows = {**_names(), **_images(), **_privileges(), **_identity(), **_numbers(), **_targets()}
    return {**rows, "six faults at once": several}


def _volume(source: object, mode: str = "rw") -> Row:
    return _row(f"volumes.{source}", volumes={str(source): {"bind": "/d", "mode": mode}})


def rows_of_places(root: Path, *kept: Path) -> dict[str, Row]:
    """What is refused of this host's paths.

    Args:
        root: a volume root and the manager's working folder, which this prepares.
        kept: what the manager and the engine keep for themselves; volume roots, too.
    """
    for folder in ("data", "code", "code-with-secret"):
        (root / folder).mkdir(exist_ok=True)
    (root / "code" / "main.py").write_text("")
    (root / "to-etc").symlink_to("/etc")
    (root / "to-parent").symlink_to("..")
    (root / "loop").symlink_to("loop")
    places = [
        *("/", "/etc", "/etc/ssh", "/proc", "/proc/1/root", "/sys", "/dev", "/run", "/var/run"),
        *("/tmp", root / "to-etc", root / "to-parent", root / "loop", root / "none"),
        *(root, root / "flow-manager.log"),
    ]
    rows = {f"volume {place}": _volume(place) for place in (*places, *kept)}
    for place in kept:
        rows[f"read-only volume {place}"] = _volume(place, "ro")
        rows[f"code {place}"] = _row("code_path", code_path=str(place))
    for place in ("/etc", root / "to-etc", root / "data" / "none", root / "code" / "main.py"):
        rows[f"code {place}"] = _row("code_path", code_path=str(place))
    rows["relative volume"] = _row("volumes.data", volumes={"data": "/d"})
    climbs = f"{root}/data/../data"
    rows["climbing volume"] = _row(f"volumes.{climbs}", volumes={climbs: "/d"})
    rows["two volumes"] = _row(
        "volumes./etc", f"volumes.{root}/none", volumes={"/etc": "/a", f"{root}/none": "/b"}
    )
    return rows
