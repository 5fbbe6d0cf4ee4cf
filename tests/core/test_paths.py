"""What of the host may be given to containers: by real path, and by no other name either."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flow_manager_core.models import ContainerSpec, Mount
from flow_manager_core.paths import OUTSIDE, HostRules, checked_volumes
from flow_manager_core.settings import Settings


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the manager's things in it, the current one."""
    for name in ("data", "state", "sockets", "engine"):
        (tmp_path / name).mkdir()
    for name in ("token", "key.pem", "mine.toml", "flow-manager.log", "engine/docker.sock"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rules(root: Path, **settings: object) -> HostRules:
    given = {"volume_roots": (root,), "state_dir": root / "state", "socket_dir": root / "sockets"}
    return HostRules.of(Settings(**{**given, **settings}), [root / "engine/docker.sock"])  # type: ignore[arg-type]


def refused(rules: HostRules, path: Path, *, writes: bool = True) -> str:
    return rules.real(path, writes=writes)[1] or ""


def test_a_folder_beside_the_managers_things_just_works(root: Path) -> None:
    assert rules(root).real(root / "data", writes=True) == (root / "data", None)


@pytest.mark.parametrize("name", ["state", "sockets", "engine", "engine/docker.sock", "."])
def test_what_the_manager_and_the_engine_keep_is_never_handed_out(root: Path, name: str) -> None:
    for writes in (True, False):
        assert "holds or lies in" in refused(rules(root), root / name, writes=writes)


@pytest.mark.parametrize("name", ["token", "key.pem"])
def test_secrets_are_named_as_what_they_are(root: Path, name: str) -> None:
    (root / "sub").mkdir()
    (root / name).rename(root / "sub" / name)
    path = root / "sub" / name
    settings = {"token_file": str(path)} if name == "token" else {"kept_paths": (path,)}
    told = refused(rules(root, **settings), root / "sub", writes=False)
    assert str(path) in told
    assert ("the manager's token" if name == "token" else "kept_paths") in told


def test_the_log_may_be_read_but_not_written_to(root: Path) -> None:
    (root / "sub").mkdir()
    (root / "sub" / "my.log").touch()
    found = rules(root, log_file=str(root / "sub" / "my.log"))
    assert "the manager's log" in refused(found, root / "sub")
    assert refused(found, root / "sub", writes=False) == ""
    assert refused(rules(root, log_file="off"), root / "sub") == ""


def test_a_link_is_judged_by_where_it_leads(root: Path) -> None:
    (root / "out").symlink_to("/usr")
    (root / "in").symlink_to(root / "data")
    (root / "round").symlink_to(root / "round")
    assert refused(rules(root), root / "out") == OUTSIDE
    assert rules(root).real(root / "in", writes=True) == (root / "data", None)
    assert "cannot be used" in refused(rules(root), root / "round")


def test_another_name_of_what_is_kept_is_recognised(root: Path) -> None:
    os.link(root / "engine/docker.sock", root / "data/innocent")
    assert "docker.sock" in refused(rules(root), root / "data/innocent")


def test_the_hosts_own_folders_are_refused_although_a_root_allows_them() -> None:
    found = HostRules.of(Settings(volume_roots=(Path("/"), Path("/etc"), Path("/proc"))))
    assert found.roots == (Path("/etc"), Path("/proc"))
    for name in ("/etc", "/etc/ssl", "/proc", "/proc/self"):
        assert refused(found, Path(name), writes=False)


def test_the_engine_is_given_the_real_path_that_was_checked(root: Path) -> None:
    (root / "in").symlink_to(root / "data")
    volumes = (Mount(f"{root}/in", "/a", read_only=True), Mount("/usr", "/b"))
    spec, faults = checked_volumes(
        ContainerSpec(image="any", name="any", volumes=volumes), rules(root)
    )
    assert spec.volumes[0] == Mount(f"{root}/data", "/a", read_only=True)
    assert [(fault.field, fault.message) for fault in faults] == [("volumes./usr", OUTSIDE)]
