"""Starts a keeper, and through it a program. Blocking: call it in a thread."""

from __future__ import annotations

import marshal
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import field, frozen

from flow_manager_core.errors import EngineError, EngineUnavailable
from flow_manager_process.records import RunRecord

#: Imported, not run by path, for only what is imported is kept compiled; last on the path, so that
#: no module of ours hides one of the standard library's.
SHIM = "import sys; sys.path.append(sys.argv[1]); import shim; shim.main()"
#: What the interpreter itself may need; the program's variables travel in the request.
KEEPER_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


@frozen(kw_only=True)
class Launch:
    """One run to begin.

    Args:
        folder: the container's.
        limit: bytes of output to keep.
    """

    folder: Path
    run: int
    executable: str
    arguments: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    working_dir: str
    limit: int

    def request(self) -> bytes:
        """What the keeper reads: marshal, for it loads in no time and both ends are one Python."""
        return marshal.dumps(
            {
                "folder": str(self.folder),
                "run": self.run,
                "executable": os.fsencode(self.executable),
                "argv": [os.fsencode(a) for a in (self.executable, *self.arguments)],
                "env": {os.fsencode(k): os.fsencode(v) for k, v in self.environment.items()},
                "cwd": os.fsencode(self.working_dir),
                "limit": self.limit,
            }
        )


def launch(order: Launch, timeout: float) -> RunRecord:
    """Begin a run; return once the program's executable has replaced its keeper's fork.

    Raises:
        EngineError: it cannot be started; the message says which step failed and why.
        EngineUnavailable: no word within `timeout` seconds; a late start undoes itself.
    """
    answer = _ask(order.request(), timeout)
    if answer.startswith(b"{"):
        return RunRecord.from_json(answer)
    word, _, rest = answer.decode(errors="replace").partition(" ")
    number, _, step = rest.partition(" ")
    if word == "error" and number.isdigit():
        raise EngineError(f"Cannot {step}: {os.strerror(int(number))}{_where(step, order)}")
    raise EngineError(f"The program's keeper failed: {answer.decode(errors='replace')[-500:]}")


def _where(step: str, order: Launch) -> str:
    return f": {order.working_dir if 'directory' in step else order.executable}"


def _ask(request: bytes, timeout: float) -> bytes:
    """Start a keeper and read its answer. What we start forks the keeper and ends at once."""
    variables = {name: os.environ[name] for name in KEEPER_VARIABLES if name in os.environ}
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", SHIM, str(Path(__file__).parent)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        cwd="/",
        env=variables,
    ) as keeper:
        try:
            answer, _ = keeper.communicate(request, timeout)
        except subprocess.TimeoutExpired:
            keeper.kill()
            raise EngineUnavailable(f"The program did not start in {timeout:g} s") from None
    return answer
