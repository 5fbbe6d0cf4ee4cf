"""The doctor names each fault that is made here, one at a time, and no other. No engine."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from flow_manager_core.desired import Desired, Wish
from flow_manager_core.past import desired_entry
from flow_manager_core.sqlite.journal import SqliteJournal
from flow_manager_unix_socket.place import Place
from tests.doctor.machine import Fault, Machine, machine, named_and_no_other
from tests.support.registry import free_port
from tests.support.root import need_root

DAY = 86400
WITHOUT_RIGHTS = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
NOBODY = 65534


def wrong_setting(ill: Machine) -> Iterator[None]:
    ill.options += ["--set", "request_timeout=-1"]
    yield


def unreadable_settings_file(ill: Machine) -> Iterator[None]:
    (ill.root / "fm.toml").write_text("port = = 1")
    ill.options += ["--config", str(ill.root / "fm.toml")]
    yield


def setting_that_nobody_reads(ill: Machine) -> Iterator[None]:
    ill.environ["FLOW_MANAGER_PROT"] = "8000"
    yield


def plugin_not_installed(ill: Machine) -> Iterator[None]:
    ill.options += ["--set", "recovery=acme"]
    yield


def plugin_broken(ill: Machine) -> Iterator[None]:
    site = ill.root / "site"
    info = site / "acme-1.2.dist-info"
    info.mkdir(parents=True)
    (site / "acme.py").write_text("import nothing_of_this_name")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[flow_manager]\nacme = acme\n")
    sys.path.insert(0, str(site))
    yield
    sys.path.remove(str(site))


def token_that_all_can_read(ill: Machine) -> Iterator[None]:
    ill.state.mkdir(mode=0o700)
    (ill.state / "token").write_text("secret")
    (ill.state / "token").chmod(0o644)
    yield


def log_that_cannot_be_written(ill: Machine) -> Iterator[None]:
    ill.options += ["--set", f"log_file={ill.root}/none/flow-manager.log"]
    yield


def volume_root_that_is_gone(ill: Machine) -> Iterator[None]:
    ill.options += ["--set", f"volume_roots={ill.root}/gone"]
    yield


def file_in_place_of_state_folder(ill: Machine) -> Iterator[None]:
    ill.state.write_text("")
    yield


def state_folder_of_another_user(ill: Machine) -> Iterator[None]:
    need_root("setpriv")
    ill.state.mkdir(mode=0o700)
    os.chown(ill.state, NOBODY, NOBODY)
    ill.inside = WITHOUT_RIGHTS
    # A token in it could not be looked at either.
    ill.options += ["--set", "token=given"]
    yield


def journal_that_is_damaged(ill: Machine) -> Iterator[None]:
    ill.journal.parent.mkdir(parents=True)
    ill.journal.write_bytes(b"SQLite format 3\0" + os.urandom(4096))
    yield


def journal_of_a_later_version(ill: Machine) -> Iterator[None]:
    keep(ill)
    with closing(sqlite3.connect(ill.journal)) as base:
        base.execute("PRAGMA user_version=99")
    yield


def clock_set_back(ill: Machine) -> Iterator[None]:
    keep(ill)
    os.utime(ill.journal, (time.time() + DAY,) * 2)
    yield


def full_disk(ill: Machine) -> Iterator[None]:
    need_root("mount", "umount")
    ill.state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", ill.state], check=True)
    yield
    subprocess.run(["umount", ill.state], check=True)


def little_memory(ill: Machine) -> Iterator[None]:
    need_root("mount", "unshare")
    lines = Path("/proc/meminfo").read_text().splitlines()
    little = ["MemAvailable: 40000 kB" if "MemAvailable" in n else n for n in lines]
    (ill.root / "meminfo").write_text("\n".join(little))
    # As containers see it whose host shows them their own share.
    script = f'mount --bind {ill.root}/meminfo /proc/meminfo && exec "$@"'
    ill.inside = ["unshare", "--mount", "sh", "-c", script, "sh"]
    yield


def few_descriptors(ill: Machine) -> Iterator[None]:
    ill.inside = ["prlimit", "--nofile=200"]
    yield


def port_in_use(ill: Machine) -> Iterator[None]:
    with socket.create_server(("127.0.0.1", ill.port)):
        yield


def port_in_use_on_all_addresses(ill: Machine) -> Iterator[None]:
    with socket.create_server(("::", ill.port), family=socket.AF_INET6, dualstack_ipv6=True):
        yield


def port_too_low(ill: Machine) -> Iterator[None]:
    need_root("setpriv")
    ill.inside = ["setpriv", "--bounding-set=-net_bind_service"]
    ill.port = 1
    yield


def address_of_another_machine(ill: Machine) -> Iterator[None]:
    ill.options += ["--host", "192.0.2.7"]
    yield


def port_of_flows_in_use(ill: Machine) -> Iterator[None]:
    number = free_port()
    ill.options += ["--set", "transport=tcp", "--set", f"tcp.port={number}"]
    with socket.create_server(("127.0.0.1", number)):
        yield


def broker_away(ill: Machine) -> Iterator[None]:
    url = f"amqp://flows:secret@127.0.0.1:{free_port()}/"
    ill.options += ["--set", "frontends=socketio,rabbitmq", "--set", f"rabbitmq.url={url}"]
    yield


def socket_folder_open_to_others(ill: Machine) -> Iterator[None]:
    ill.sockets.mkdir()
    ill.sockets.chmod(0o777)
    yield


def socket_folder_is_a_link(ill: Machine) -> Iterator[None]:
    (ill.root / "elsewhere").mkdir(mode=0o700)
    ill.sockets.symlink_to(ill.root / "elsewhere")
    yield


def socket_path_too_long(ill: Machine) -> Iterator[None]:
    ill.options += ["--socket-dir", str(ill.root / ("s" * 80))]
    yield


def stale_socket(ill: Machine) -> Iterator[None]:
    leave_socket(ill.sockets, "ghost")
    yield


def leave_socket(folder: Path, name: str, age: float = 120) -> Place:
    """Leave what a manager leaves that was killed."""
    place = Place(folder, name)
    place.bind(1).close()
    for path in (place.socket, place.folder, place.address):
        os.utime(path, (time.time() - age,) * 2, follow_symlinks=False)
    return place


def leftover_folder(ill: Machine) -> Iterator[None]:
    leave_scrap(ill)
    yield


def leave_scrap(ill: Machine) -> Path:
    """Leave what a manager leaves that was killed while it removed a container."""
    scrap = ill.state / "process" / "default" / ".0123.gone"
    scrap.mkdir(parents=True)
    (scrap / "output.log").write_text("")
    os.utime(scrap, (time.time() - 120,) * 2)
    return scrap


def container_folder_damaged(ill: Machine) -> Iterator[None]:
    folder = ill.state / "process" / "default" / "0123"
    folder.mkdir(parents=True)
    (folder / "container.json").write_text("{")
    yield


def image_misspelt(ill: Machine) -> Iterator[None]:
    ill.options += ["--image", "pyhton"]
    yield


def container_that_is_lost(ill: Machine) -> Iterator[None]:
    keep(ill, Desired(key="1", name="elsewhere", container_id="0123456789abcdef", wish=Wish.UP))
    yield


def keep(ill: Machine, *desired: Desired) -> None:
    """Leave a journal as a manager does that has ended."""

    async def save() -> None:
        async with SqliteJournal.open(ill.journal.parent) as journal:
            await journal.commit([desired_entry(one) for one in desired])

    ill.journal.parent.mkdir(parents=True)
    anyio.run(save)


FAULTS = [
    Fault("a setting is wrong", "settings", "request_timeout: must be", wrong_setting),
    Fault("the settings file is broken", "settings", "fm.toml", unreadable_settings_file),
    Fault(
        "a variable is misspelt",
        "settings",
        "FLOW_MANAGER_PROT",
        setting_that_nobody_reads,
        "warning",
    ),
    Fault("a plugin is missing", "plugins", "named 'acme'", plugin_not_installed),
    Fault("a plugin is broken", "plugins", "nothing_of_this_name", plugin_broken, "warning"),
    Fault("the token is open to all", "token", "can be read by others", token_that_all_can_read),
    Fault("the log cannot be written", "log-file", "cannot be written", log_that_cannot_be_written),
    Fault(
        "a volume root is gone",
        "volume-roots",
        "does not exist",
        volume_root_that_is_gone,
        "warning",
    ),
    Fault("no state folder", "state-folder", "is no folder", file_in_place_of_state_folder),
    Fault(
        "another user's state folder",
        "state-folder",
        f"belongs to the user with the id {NOBODY}",
        state_folder_of_another_user,
    ),
    Fault("damaged journal", "journal", "cannot be read", journal_that_is_damaged),
    Fault("a journal of a later version", "journal", "later version", journal_of_a_later_version),
    Fault("the clock was set back", "clock", "clock is behind", clock_set_back, "warning"),
    Fault("the disk is full", "disk", "Disk space is short: 1 MiB", full_disk),
    Fault("memory is short", "memory", "39 MiB of memory are left", little_memory),
    Fault("few descriptors", "descriptors", "200 file desc", few_descriptors, "warning"),
    Fault("the port is in use", "http-port", f"held by process {os.getpid()} (", port_in_use),
    Fault("it is in use on ::", "http-port", "already in use", port_in_use_on_all_addresses),
    Fault("the port is too low", "http-port", "may not listen on so low a port", port_too_low),
    Fault("no such address", "http-port", "has the address 192.0.2.7", address_of_another_machine),
    Fault("the flows' port is in use", "tcp-port", "already in use", port_of_flows_in_use),
    Fault("no broker", "rabbitmq-broker", "does not answer", broker_away),
    Fault("an open folder", "socket-folder", "open to other users", socket_folder_open_to_others),
    Fault("a link for a folder", "socket-folder", "is a link", socket_folder_is_a_link),
    Fault("a long path", "socket-folder", "so long a path", socket_path_too_long, "warning"),
    Fault("a stale socket", "sockets", "ghost.sock; no container", stale_socket, "warning"),
    Fault("a folder left over", "process-folders", ".0123.gone", leftover_folder, "warning"),
    Fault(
        "a damaged container",
        "process-folders",
        "0123 of a container cannot be read",
        container_folder_damaged,
        "warning",
    ),
    Fault("an image misspelt", "images", "Image not found: pyhton", image_misspelt),
    Fault(
        "a container is lost",
        "containers",
        "elsewhere (0123456789ab) is recorded, and not there",
        container_that_is_lost,
        "warning",
    ),
]


@pytest.fixture
def ill() -> Iterator[Machine]:
    with machine() as made:
        yield made


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_is_named_with_what_to_do_and_nothing_else_is(fault: Fault, ill: Machine) -> None:
    named_and_no_other(fault, ill)


def test_a_healthy_machine_has_no_finding_and_stays_as_it_was(ill: Machine) -> None:
    found = ill.examined()
    assert (found.code, found.complaining, found.body["status"]) == (0, set(), "ok")
    assert list(ill.root.iterdir()) == []


def test_every_other_provider_is_healthy_as_well(ill: Machine) -> None:
    ill.options += ["--set", "transport=tcp", "--set", f"tcp.port={free_port()}"]
    ill.options += ["--set", "recovery=intensity", "--set", "error_format=problem"]
    assert ill.examined().complaining == set()
    assert list(ill.root.iterdir()) == []


def test_a_secret_of_the_settings_is_not_told(ill: Machine) -> None:
    ill.options += ["--set", "frontends=rabbitmq"]
    ill.options += ["--set", f"rabbitmq.url=amqp://flows:hush-hush@127.0.0.1:{free_port()}/"]
    ill.options += ["--set", "token=hush-hush"]
    _, text = ill.run()
    assert "rabbitmq-broker" in text
    assert "hush-hush" not in text


def test_what_a_stranger_called_its_process_does_not_reach_the_terminal(ill: Machine) -> None:
    red = "\x1b[31m"
    (ill.root / red).mkdir()
    ill.options += ["--set", f"volume_roots={ill.root}/{red}/gone"]
    code, text = ill.run()
    assert code == 1
    assert "does not exist" in text
    assert "\x1b" not in text


def test_people_get_a_line_for_each_check_and_what_to_do(ill: Machine) -> None:
    ill.options += ["--set", f"volume_roots={ill.root}/gone"]
    code, text = ill.run()
    lines = text.splitlines()
    blank = lines.index("")
    assert code == 1
    assert {line.split()[0] for line in lines[:blank]} == {"ok", "warning", "skipped"}
    assert lines[blank + 1].startswith("warning: volume-roots: The folder ")
    assert lines[blank + 2].startswith("    to do: Verify that the code path exists")


def test_one_check_can_be_asked_for_by_name(ill: Machine) -> None:
    ill.state.write_text("")
    found = ill.examined("--only", "clock", "--only", "images")
    assert found.code == 0
    assert [check["name"] for check in found.body["checks"]] == ["clock", "images"]


def test_a_check_that_is_not_there_is_refused(
    ill: Machine, capsys: pytest.CaptureFixture[Any]
) -> None:
    code, text = ill.run("--only", "colour")
    assert (code, text) == (2, "")
    told = "flow-manager: --only colour: there is no such check; flow-manager doctor --list"
    assert capsys.readouterr().err.startswith(told)
