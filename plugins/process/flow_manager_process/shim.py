"""The keeper of one run: starts a program, records its output and its end, outlives the manager.

Imported by `launcher` under ``python -I -S``: standard library alone, and of that only what loads
in a millisecond (so `_signal`, not `signal`), for it stands between a start and the program's
first instruction. It reads its request (see `launcher`) from stdin, writes one answer to stdout:
the run's record, or ``error``, an errno and a step; then it belongs to nobody.

SIGTERM and SIGUSR1 to the keeper reach the program's process group as SIGTERM and SIGKILL. When
the keeper is killed, Linux kills the program too. When the program ends, what it left behind is
killed, and ``exit.json`` is written before the keeper itself ends.
"""

from __future__ import annotations

import marshal
import os
import select
import sys
import time

TYPE_CHECKING = False  # typing's own would have to be imported
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from typing import Any
else:
    try:
        import _signal as signal
    except ImportError:  # an interpreter that has only the slower one
        import signal

LINE_LIMIT = 16 * 1024  # bytes of one recorded line, as Docker's own log drivers cut them
READ_SIZE = 64 * 1024
EXIT_ROOM = 512  # bytes; JSON does not mind the spaces
DRAIN_LIMIT = 1024 * 1024  # bytes read after the end; more is from a foreign writer
REAP_ROUNDS = 200  # times 10 ms to wait for killed leftovers to go
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h


class Recorder:
    """Writes lines to ``output.log``, and keeps at most two files of half the limit each."""

    def __init__(self, folder: str, limit: int) -> None:
        self._path = f"{folder}/output.log"
        self._old = f"{folder}/output.1.log"
        self._half = max(limit // 2, 2 * LINE_LIMIT)
        self._partial = {b"o": b"", b"e": b""}
        self._at = 0
        self._torn = False
        self.lost: int = 0
        self._open()

    def _open(self) -> None:
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._size = os.fstat(self._file).st_size

    def take(self, stream: bytes, data: bytes) -> None:
        """Record a stream's next bytes; an unfinished line waits for its end."""
        *lines, rest = (self._partial[stream] + data).split(b"\n")
        whole = len(rest) - len(rest) % LINE_LIMIT
        if whole:
            lines.append(rest[:whole])
        self._partial[stream] = rest[whole:]
        if lines:
            self._record(stream, lines)

    def finish(self) -> None:
        """Record the lines that were never finished."""
        for stream, rest in self._partial.items():
            if rest:
                self._record(stream, [rest])

    def _record(self, stream: bytes, lines: list[bytes]) -> None:
        self._at = max(self._at, time.time_ns())
        head = b"%d %s " % (self._at, stream)
        pieces = []
        for line in lines:
            if len(line) <= LINE_LIMIT:
                pieces.append(line)
            else:
                pieces += [line[n : n + LINE_LIMIT] for n in range(0, len(line), LINE_LIMIT)]
        for start in range(0, len(pieces), 256):
            self._write(b"".join(b"%s%s\n" % (head, p) for p in pieces[start : start + 256]))

    def _write(self, data: bytes) -> None:
        if self._torn:
            data = b"\n" + data
        try:
            if self._size and self._size + len(data) > self._half:
                self._rotate()
            while data:
                written = os.write(self._file, data)
                self._size += written
                data = data[written:]
            self._torn = False
        except OSError:  # a full disk must not end the program; the exit record tells the loss
            self.lost += len(data)
            self._torn = True

    def _rotate(self) -> None:
        os.rename(self._path, self._old)
        os.close(self._file)
        self._open()


def write_file(path: str, text: str) -> None:
    """Put a file in place whole or not at all."""
    scratch = f"{path}.new"
    fd = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
    os.rename(scratch, path)


def reserve(path: str) -> None:
    """Take the room that `fill_reserved` will need, while there is some."""
    write_file(f"{path}.room", " " * EXIT_ROOM)


def fill_reserved(path: str, text: str) -> None:
    """Put a file in place whole, in the room that was reserved: on a full disk too."""
    fd = os.open(f"{path}.room", os.O_WRONLY)
    try:
        os.write(fd, text.ljust(EXIT_ROOM).encode())
    finally:
        os.close(fd)
    os.rename(f"{path}.room", path)


def read_text(path: str) -> str:
    """Read a small file, empty where the system has none of that name."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        return ""
    try:
        return os.read(fd, 4096).decode(errors="replace")
    finally:
        os.close(fd)


def ticks(pid: int) -> int:
    """When a process started, in clock ticks since the boot (field 22 of proc(5)); 0: unknown."""
    stat = read_text(f"/proc/{pid}/stat")
    return int(stat.rpartition(")")[2].split()[19]) if stat else 0


def load_prctl() -> Callable[..., int]:
    """Linux's prctl(2); elsewhere a function that does nothing."""
    if sys.platform != "linux":
        return lambda *_: 0
    import ctypes

    prctl: Callable[..., int] = ctypes.CDLL(None).prctl
    return prctl


def exec_program(
    request: dict[str, Any],
    prctl: Callable[..., int],
    keeper: int,
    report: int,
    streams: tuple[int, int],
) -> None:
    """Become the program; in the forked child. Reports a failing step and exits."""
    step = "start the program"
    try:
        os.setsid()
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != keeper:
            os._exit(1)
        os.dup2(streams[0], 1)
        os.dup2(streams[1], 2)
        # An ignored signal stays ignored across exec; Python ignores two, the manager may more.
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        step = "enter the working directory"
        os.chdir(request["cwd"])
        step = "run the executable"
        # The program is what the client asked for, word for word and with no shell between.
        os.execve(request["executable"], request["argv"], request["env"])
    except OSError as error:
        os.write(report, f"error {error.errno} {step}".encode())
    except ValueError as error:
        os.write(report, f"error 22 {step}: {error}".encode())
    finally:
        os._exit(127)


class Keeper:
    """One run, from the fork to the exit record."""

    def __init__(self, request: dict[str, Any], answer: int) -> None:
        self._request = request
        self._folder = request["folder"]
        self._answer = answer
        self._recorder = Recorder(self._folder, request["limit"])
        reserve(f"{self._folder}/exit.json")
        self._wake, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
        for number in (signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        self._streams: dict[int, bytes] = {}
        self._pid = 0

    def start(self) -> bool:
        """Start the program and answer; false when it cannot be started."""
        prctl = load_prctl()
        prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        out, err, failed = os.pipe(), os.pipe(), os.pipe()
        started, keeper = time.time_ns(), os.getpid()
        self._pid = os.fork()
        if not self._pid:
            exec_program(self._request, prctl, keeper, failed[1], (out[1], err[1]))
        for end in (out[1], err[1], failed[1]):
            os.close(end)
        self._streams = {out[0]: b"o", err[0]: b"e"}
        told = os.read(failed[0], 4096)
        os.close(failed[0])
        if told:
            os.waitpid(self._pid, 0)
            os.write(self._answer, told)
            return False
        self._tell_start(started)
        return True

    def _tell_start(self, started: int) -> None:
        boot = read_text("/proc/sys/kernel/random/boot_id").strip()
        record = (
            f'{{"run": {self._request["run"]}, "started_ns": {started}, "boot": "{boot}",'
            f' "keeper": {os.getpid()}, "keeper_ticks": {ticks(os.getpid())},'
            f' "pid": {self._pid}, "pid_ticks": {ticks(self._pid)}}}'
        )
        try:
            write_file(f"{self._folder}/run.json", record)
            os.write(self._answer, record.encode())
        except OSError:  # a start that cannot be told must not have happened
            self._signal(signal.SIGKILL)

    def keep(self) -> None:
        """Record until the program has ended, then clear up and write the exit record."""
        poll = select.poll()
        for fd in (self._wake, *self._streams):
            poll.register(fd, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == self._wake:
                    self._heed(os.read(fd, 512))
                elif data := os.read(fd, READ_SIZE):
                    self._recorder.take(self._streams[fd], data)
                else:
                    poll.unregister(fd)
            if self._over():
                return self._finish()

    def _heed(self, numbers: bytes) -> None:
        if signal.SIGTERM in numbers:
            self._signal(signal.SIGTERM)
        if signal.SIGUSR1 in numbers:
            self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        """Signal the program's group. Its leader is not reaped yet, so the number is still its."""
        try:
            os.killpg(self._pid, number)
        except OSError:  # nobody left to be signalled
            return

    def _over(self) -> bool:
        """Reap orphans that fell to us; tell whether the program itself has ended."""
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        while found := os.waitid(os.P_ALL, 0, flags):
            if found.si_pid == self._pid:
                return True
            os.waitpid(found.si_pid, 0)
        return False

    def _finish(self) -> None:
        finished = time.time_ns()
        self._signal(signal.SIGKILL)
        _, status = os.waitpid(self._pid, 0)
        self._clear_leftovers()
        self._drain()
        self._recorder.finish()
        code = os.waitstatus_to_exitcode(status)
        record = (
            f'{{"run": {self._request["run"]}, "code": {code if code >= 0 else 128 - code},'
            f' "finished_ns": {finished}, "output_lost": {self._recorder.lost}}}'
        )
        fill_reserved(f"{self._folder}/exit.json", record)

    def _clear_leftovers(self) -> None:
        """Kill what escaped the group by a session of its own; Linux makes it our child."""
        listing = f"/proc/self/task/{os.getpid()}/children"
        for _ in range(REAP_ROUNDS):
            for child in read_text(listing).split():
                self._kill(int(child))
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    continue
            except ChildProcessError:
                return
            time.sleep(0.01)

    def _kill(self, pid: int) -> None:
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:  # gone, or made another user's by a program that may do so
            return

    def _drain(self) -> None:
        for fd, stream in self._streams.items():
            os.set_blocking(fd, False)
            left = DRAIN_LIMIT
            while left > 0:
                try:
                    data = os.read(fd, READ_SIZE)
                except BlockingIOError:
                    break
                if not data:
                    break
                self._recorder.take(stream, data)
                left -= len(data)


def main() -> None:
    """Leave the manager's process tree, keep one run."""
    with open(0, "rb", closefd=False) as stdin:
        request = marshal.load(stdin)
    if os.fork():
        os._exit(0)
    answer = os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    keeper = Keeper(request, answer)
    if not keeper.start():
        return
    os.close(answer)
    log = f"{request['folder']}/keeper.log"
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), 2)
    keeper.keep()
