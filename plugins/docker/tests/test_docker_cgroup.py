"""The kernel's files about a container, and where its program is searched."""

from __future__ import annotations

from pathlib import Path

import pytest

from flow_manager_docker import cgroup
from flow_manager_docker.command_check import candidates

V1 = "4:memory:/docker/abc\n2:cpuacct,cpu:/docker/abc\n9:name=systemd:/x\n0::/docker/abc\n"
MOUNTS = (
    "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
    "33 31 0:30 /docker /sys/fs/cgroup/cpu,cpuacct rw shared:1 - cgroup cgroup rw,cpu,cpuacct\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
    "23 1 8:1 / / rw - ext4 /dev/sda rw\n"
)


def test_the_folders_of_a_processs_groups_are_found() -> None:
    found = cgroup.folders(cgroup.parse_groups(V1), cgroup.parse_mounts(MOUNTS))
    assert found == {
        "memory": "/sys/fs/cgroup/memory/docker/abc",
        "cpu": "/sys/fs/cgroup/cpu,cpuacct/abc",
        "cpuacct": "/sys/fs/cgroup/cpu,cpuacct/abc",
        cgroup.UNIFIED: "/sys/fs/cgroup/unified/docker/abc",
    }


def fill(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


def test_version_1_is_read(tmp_path: Path) -> None:
    folder = fill(
        tmp_path / "g",
        memory__usage_in_bytes="1000\n",
        memory__stat="cache 5\ntotal_inactive_file 300\n",
        memory__limit_in_bytes="5000\n",
        cpuacct__usage="2500000000\n",
        pids__current="7\n",
        blkio__throttle__io_service_bytes_recursive=(
            "8:0 Read 10\n8:0 Write 20\n8:1 Read 1\nTotal 31\n"
        ),
    )
    found = cgroup.read_groups(dict.fromkeys(("memory", "cpuacct", "pids", "blkio"), str(folder)))
    assert found == cgroup.Reading(2.5, 700, 5000, 7, (11, 20))


def test_version_2_is_read(tmp_path: Path) -> None:
    folder = fill(
        tmp_path / "g",
        memory__current="1000\n",
        memory__stat="inactive_file 300\n",
        memory__max="max\n",
        cpu__stat="usage_usec 2500000\nuser_usec 1\n",
        pids__current="7\n",
        io__stat="8:0 rbytes=10 wbytes=20 rios=1\n8:1 rbytes=1 wbytes=0\n",
    )
    found = cgroup.read_groups({cgroup.UNIFIED: str(folder)})
    assert found == cgroup.Reading(2.5, 700, None, 7, (11, 20))


def test_what_the_kernel_does_not_tell_is_none(tmp_path: Path) -> None:
    assert cgroup.read_groups({"memory": str(tmp_path)}) == cgroup.Reading()
    assert cgroup.read_groups({cgroup.UNIFIED: str(tmp_path)}) == cgroup.Reading()
    assert cgroup.read_groups({}) == cgroup.Reading()


def test_traffic_is_summed_without_the_loopback() -> None:
    text = "a\nb\n lo: 9 0 0 0 0 0 0 0 9 0\neth0: 1 0 0 0 0 0 0 0 2 0\neth1:3 0 0 0 0 0 0 0 4 0\n"
    assert cgroup.parse_network(text) == (4, 6)


@pytest.mark.parametrize(
    ("program", "places"),
    [
        ("/bin/x", ["/bin/x"]),
        ("./x", ["/w/./x"]),
        ("x", ["/a/x", "/w/b/x"]),
    ],
)
def test_a_program_is_searched_as_the_container_would(program: str, places: list[str]) -> None:
    config = {"WorkingDir": "/w", "Env": ["PATH=/a:b", "odd"]}
    assert list(candidates({"Path": program, "Args": [], "Config": config})) == places
