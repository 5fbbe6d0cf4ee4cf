"""The service with a sampler in it: what runs whenever some processor time has passed.

``python -m benchmarks.sampled_service FILE serve ...``; SIGUSR1 begins, SIGUSR2 writes the file:
JSON, for each stack that was seen its places from the outermost inwards, and how often.
"""

from __future__ import annotations

import json
import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

#: Seconds of processor time between two looks; many a kernel's clock ticks less often.
INTERVAL = 0.001

_seen: Counter[tuple[str, ...]] = Counter()


def _look(_number: int, frame: FrameType | None) -> None:
    """Note where the main thread is."""
    places = []
    while frame is not None:
        code = frame.f_code
        places.append(f"{code.co_filename}:{code.co_qualname}")
        frame = frame.f_back
    _seen[tuple(reversed(places))] += 1


def _begin(_number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGPROF, _look)
    signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)


def _write(_number: int, _frame: FrameType | None) -> None:
    signal.setitimer(signal.ITIMER_PROF, 0)
    path = Path(sys.argv[1])
    unfinished = path.with_suffix(".part")
    unfinished.write_text(json.dumps([[count, *places] for places, count in _seen.items()]))
    unfinished.rename(path)


def main() -> None:
    """Run the service as its own program would."""
    from flow_manager_cli.main import main as serve

    signal.signal(signal.SIGUSR1, _begin)
    signal.signal(signal.SIGUSR2, _write)
    sys.exit(serve(sys.argv[2:]))


if __name__ == "__main__":
    main()
