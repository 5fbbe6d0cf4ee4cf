"""A flow that tries to get out of its box, and prints what became of each try as one JSON object.

Nothing but Python. No try does harm if it succeeds: files are opened, not written.
"""

import ctypes
import errno
import json
import os
import socket
import struct
import sys
import threading

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWUSER, CLONE_NEWNS = 0x10000000, 0x00020000
FOLDER, NAME = os.path.split(os.environ["FLOW_SOCKET"])
TOLD = json.loads(sys.argv[1])


def call(name, *arguments):
    if getattr(LIBC, name)(*arguments) == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def attempt(action, *arguments):
    try:
        action(*arguments)
    except OSError as error:
        return errno.errorcode.get(error.errno, repr(error))
    return "done"


def connect(address, family=socket.AF_UNIX):
    with socket.socket(family) as made:
        made.settimeout(2)
        made.connect(address)


def bind(address, family=socket.AF_UNIX, kind=socket.SOCK_STREAM, protocol=0):
    with socket.socket(family, kind, protocol) as made:
        made.bind(address)


def channel_tries():
    path = f"{FOLDER}/{NAME}"
    return {
        "unlink the socket": (os.unlink, path),
        "rename the socket": (os.rename, path, path + ".old"),
        "link the socket": (os.link, path, path + ".twin"),
        "link the socket out": (os.link, path, "/tmp/flow.sock"),
        "plant a link": (os.symlink, "/etc", f"{FOLDER}/link"),
        "plant a folder": (os.mkdir, f"{FOLDER}/made"),
        "plant a socket": (bind, f"{FOLDER}/trap.sock"),
        "chmod the socket": (os.chmod, path, 0o600),
        "chmod the folder": (os.chmod, FOLDER, 0o777),
        "chown the socket": (os.chown, path, 0, 7),
        "rename the folder": (os.rename, FOLDER, "/run/mine"),
        "remount the folder": (call, "mount", None, FOLDER.encode(), None, 32 | 4096, None),
        "unmount the folder": (call, "umount2", FOLDER.encode(), 2),
        "climb out of the folder": (os.stat, f"{FOLDER}/../neighbour.d"),
        "the neighbour's socket": (connect, TOLD["neighbour"]),
        "the neighbour's socket, through process 1": (connect, "/proc/1/root" + TOLD["neighbour"]),
        "the manager's abstract socket": (connect, "\0" + TOLD["abstract"]),
        "the manager's port": (connect, (TOLD["host"], TOLD["port"]), socket.AF_INET),
        "the manager's port, on loopback": (connect, ("127.0.0.1", TOLD["port"]), socket.AF_INET),
    }


def host_tries():
    return {
        "a file of the host": (os.stat, TOLD["secret"]),
        "a file of the host, through process 1": (os.stat, "/proc/1/root" + TOLD["secret"]),
        "the engine's socket": (connect, TOLD["engine"]),
        "the usual engine's socket": (connect, "/var/run/docker.sock"),
        "mount": (call, "mount", b"none", b"/tmp", b"tmpfs", 0, None),
        "mount proc": (call, "mount", b"proc", b"/tmp", b"proc", 0, None),
        "chroot": (os.chroot, "/tmp"),
        "a mount namespace": (call, "unshare", CLONE_NEWNS),
        "a user namespace": (call, "unshare", CLONE_NEWUSER),
        "make a device": (os.mknod, "/tmp/disk", 0o60666, os.makedev(8, 0)),
        "make a tape": (os.mknod, "/dev/mem2", 0o20666, os.makedev(1, 1)),
        "the host's memory": (open, "/dev/mem", "rb"),
        "the kernel's log": (open, "/dev/kmsg", "rb"),
        "the kernel's memory": (open, "/proc/kcore", "rb"),
        "core pattern": (open, "/proc/sys/kernel/core_pattern", "wb"),
        "system request": (open, "/proc/sysrq-trigger", "wb"),
        "the host's name": (socket.sethostname, "mine"),
        "the host's priority": (os.nice, -5),
        "a control group": (os.mkdir, "/sys/fs/cgroup/memory/mine"),
        "a control group's agent": (open, "/sys/fs/cgroup/memory/release_agent", "wb"),
        "its own limit": (open, "/sys/fs/cgroup/memory/memory.limit_in_bytes", "wb"),
        "a kernel module": (call, "syscall", 313, -1, b"", 0),
        "a program in the kernel": (call, "syscall", 321, 0, None, 0),
        "the clock": (call, "syscall", 164, struct.pack("qq", 0, 2_000_000), None),
        "a raw socket": (bind, ("eth0", 0), socket.AF_PACKET, socket.SOCK_RAW),
    }


def flood():
    """How many threads it can have before it is held up."""
    stop, threads = threading.Event(), []
    try:
        while len(threads) < 200:
            threads.append(threading.Thread(target=stop.wait, daemon=True))
            threads[-1].start()
    except RuntimeError:
        threads.pop()
    stop.set()
    return len(threads)


def abstract_sockets():
    with open("/proc/net/unix") as lines:
        return [line.split()[-1] for line in lines if "@" in line]


def status(name):
    with open("/proc/self/status") as lines:
        return next(line.split()[1] for line in lines if line.startswith(f"{name}:"))


connect(f"{FOLDER}/{NAME}")
tries = {**channel_tries(), **host_tries()}
found = {
    "user": os.getuid(),
    "tries": {name: attempt(*each) for name, each in tries.items()},
    "channel folder": sorted(os.listdir(FOLDER)),
    "processes": sum(name.isdigit() for name in os.listdir("/proc")),
    "abstract sockets": abstract_sockets(),
    "disks": [name for name in os.listdir("/dev") if name.startswith(("sd", "vd", "nvme", "loop"))],
    "no new privileges": status("NoNewPrivs"),
    "bounding set": status("CapBnd"),
    "effective set": status("CapEff"),
    "threads": flood(),
}
connect(f"{FOLDER}/{NAME}")
print(json.dumps(found), flush=True)
