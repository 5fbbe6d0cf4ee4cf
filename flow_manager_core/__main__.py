"""``python -m flow_manager_core``: the same as ``flow-manager serve``."""

from __future__ import annotations

import importlib.metadata
import os
import sys

from flow_manager_core import service


def main(arguments: list[str]) -> int:
    """Serve, through the command line where it is installed."""
    for entry in importlib.metadata.entry_points(group="console_scripts", name="flow-manager"):
        run: int = entry.load()(["serve", *arguments])
        return run
    if arguments:
        print(
            "flow-manager: the command line is not installed; pip install flow-manager-cli",
            file=sys.stderr,
        )
        return service.CONFIGURATION_EXIT
    return service.run({}, os.environ)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
