"""The load as a program: connects, says so, then measures whenever a line on its input asks.

``python -m benchmarks.load '{"port": 8000, "auth": {}, "count": 50, "greeted": true}'``
"""

from __future__ import annotations

import json
import select
import sys
from typing import Any

from benchmarks.load.crowd import Crowd


def _tell(found: Any) -> None:
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Measure until the input ends; in between answer pings, and drop what else arrives."""
    crowd = Crowd(**json.loads(sys.argv[1]))
    _tell({"greeting": crowd.clients[0].greeting})
    while True:
        ready, _, _ = select.select([sys.stdin, crowd.poll], [], [])
        if crowd.poll in ready:
            for _ in crowd.arrivals():
                pass
        if sys.stdin in ready:
            line = sys.stdin.readline()
            if not line:
                break
            asked = json.loads(line)
            _tell(getattr(crowd, asked.pop("measure"))(**asked))
    crowd.close()


if __name__ == "__main__":
    main()
