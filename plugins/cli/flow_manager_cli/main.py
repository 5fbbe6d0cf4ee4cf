"""What ``flow-manager`` starts."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code.

    Args:
        arguments: of a caller in whose process it runs; ``None``: the process is ours, and its own
            are taken.
    """
    with _uncollected() if arguments is None else nullcontext():
        # Imported here, where the collector rests: this brings in nearly all there is.
        from flow_manager_cli.commands import run
    return run(arguments)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Let the garbage collector rest, who finds nothing in what is being imported.

    It took 60 of the 700 ms that the service needs until it is ready, measured; nor does it look
    through that afterwards, as all of it stays.
    """
    worked = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if worked:
            gc.freeze()
            gc.enable()


if __name__ == "__main__":
    sys.exit(main())
