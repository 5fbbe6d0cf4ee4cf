"""What a process has of the host is read from the kernel, and named as this host names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from flow_manager_docker.engine_places import engine_places
from flow_manager_docker.host_mounts import MountLine, host_names, parse_mounts, seen_by

OURS = parse_mounts(
    b"""22 1 8:1 / / rw - ext4 /dev/sda1 rw
23 22 0:5 / /proc rw - proc proc rw
24 22 8:2 / /srv/big rw - ext4 /dev/sdb1 rw
25 22 8:1 /etc /srv/twin rw - ext4 /dev/sda1 rw
26 22 0:9 /sub /srv/part rw - btrfs /dev/sdc rw
"""
)


def names(device: str, root: str) -> list[str]:
    return [str(path) for path in host_names(MountLine(device, root, "/data"), OURS)]


@pytest.mark.parametrize(
    ("device", "root", "found"),
    [
        ("8:1", "/srv/data", ["/srv/data"]),
        ("8:1", "/", ["/"]),
        ("8:1", "/etc/ssl", ["/etc/ssl", "/srv/twin/ssl"]),
        ("8:1", "/etcetera", ["/etcetera"]),
        ("8:1", "/srv/data//deleted", ["/srv/data"]),
        ("8:2", "/x/y", ["/srv/big/x/y"]),
        ("8:2", "/", ["/srv/big"]),
        ("0:5", "/", ["/proc"]),
        ("0:9", "/sub/x", ["/srv/part/x"]),
        ("0:9", "/other", []),
        ("7:7", "/", []),
    ],
)
def test_a_place_in_a_file_system_has_all_its_names_on_the_host(
    device: str, root: str, found: list[str]
) -> None:
    assert names(device, root) == found


def test_odd_characters_of_paths_are_read_as_they_are() -> None:
    (line,) = parse_mounts(rb"1 2 8:1 /a\040b\134c\012 /d\011: rw - ext4 /dev/sda1 rw")
    assert (line.root, line.point) == ("/a b\\c\n", "/d\t:")


def test_another_containers_process_tells_nothing(tmp_path: Path) -> None:
    (tmp_path / "cgroup").write_text("1:memory:/docker/other\n")
    (tmp_path / "mountinfo").write_text("")
    assert seen_by(tmp_path, "mine", ["/data"]) is None
    assert seen_by(tmp_path / "gone", "mine", ["/data"]) is None
    assert seen_by(tmp_path, "other", ["/data"]) == []


def test_what_is_mounted_below_a_target_is_seen_too(tmp_path: Path) -> None:
    own = Path("/proc/self/mountinfo").read_text().splitlines()
    root = next(line.split()[2] for line in own if line.split()[4] == "/")
    (tmp_path / "cgroup").write_text("0::/mine\n")
    (tmp_path / "mountinfo").write_text(
        f"1 2 {root} / /data rw - x x rw\n1 2 {root} / /data/a rw - x x rw\n"
        f"1 2 {root} / /database rw - x x rw\n1 2 999:9 / /data/b rw - x x rw\n"
    )
    found = seen_by(tmp_path, "mine", ["/data"])
    assert found is not None
    assert [point for point, _ in found] == ["/data", "/data/a", "/data/b"]
    assert [bool(paths) for _, paths in found] == [True, True, False]


def test_the_engines_own_places_are_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/mine.sock")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".docker").mkdir()
    found = {
        str(p) for p in engine_places("/srv/docker", {"DOCKER_CERT_PATH": "/srv/certificates"})
    }
    assert {"/srv/docker", "/srv/certificates", f"{tmp_path}/mine.sock"} <= found
    assert {"/run/docker.sock", "/run/containerd", "/var/lib/docker", "/run/podman"} <= found
    assert f"{tmp_path}/.docker" in found
    assert f"{tmp_path}/.config/containers" not in found
    monkeypatch.setenv("DOCKER_HOST", "tcp://elsewhere:2376")
    assert all(path.is_absolute() for path in engine_places(""))
