"""Runs ``flow-manager`` once for each line of arguments and variables that stdin names in JSON."""

from __future__ import annotations

import io
import json
import os
import sys
from contextlib import redirect_stderr, redirect_stdout

from flow_manager_cli.main import main


def run(arguments: list[str], environ: dict[str, str]) -> tuple[int, str]:
    """Run it; return its exit code and all that it printed."""
    before = dict(os.environ)
    output = io.StringIO()
    os.environ.update(environ)
    try:
        with redirect_stdout(output), redirect_stderr(output):
            code = main(arguments)
    finally:
        os.environ.clear()
        os.environ.update(before)
    return code, output.getvalue()


if __name__ == "__main__":
    print(json.dumps([run(*each) for each in json.load(sys.stdin)]))
