"""Run the project's commands from a fresh clone, with nothing but Python 3.11+ and pip.

python3 run.py demo    shows Flow Manager at work
python3 run.py test    runs every check that a change must pass
python3 run.py NAME    runs one nox session; without a name: lists them

What follows the name goes on to the session. Everything is installed into .venv and .nox beside
this file; delete the two folders and nothing is left.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
CONSTRAINTS = ROOT / "constraints.txt"
READY = VENV / "ready-for-run.txt"

#: A command of the README, and the nox sessions behind it; the tests' counts close the output.
COMMANDS = {"test": ("lint", "all")}


def main(arguments: Sequence[str]) -> int:
    """Run one command; return the process's exit code."""
    if sys.version_info < (3, 11):
        sys.exit(f"Flow Manager needs Python 3.11 or newer; this is {sys.version.split()[0]}.")
    try:
        prepare()
        return nox(arguments)
    except subprocess.CalledProcessError as error:
        sys.exit(f"This did not work: {' '.join(map(str, error.cmd))}")
    except KeyboardInterrupt:
        return 130


def nox(arguments: Sequence[str]) -> int:
    """Hand the sessions over to nox."""
    base = [PYTHON, "-m", "nox", "--noxfile", ROOT / "noxfile.py"]
    if not arguments:
        return subprocess.run([*base, "--list"], check=False).returncode
    name, *rest = arguments
    sessions = COMMANDS.get(name, (name,))
    return subprocess.run([*base, "--session", *sessions, "--", *rest], check=False).returncode


def prepare() -> None:
    """Make the environment that nox lives in, unless a finished one is there."""
    wanted = f"{sys.version}\n{CONSTRAINTS.read_text()}"
    if READY.exists() and READY.read_text() == wanted and runs(PYTHON):
        return
    print(f"Preparing {VENV} ...", flush=True)
    make_environment()
    install = ["install", "--quiet", "--constraint", CONSTRAINTS, "nox"]
    subprocess.run([sys.executable, "-m", "pip", "--python", PYTHON, *install], check=True)
    READY.write_text(wanted)


def make_environment() -> None:
    """Make .venv, or mend what an earlier run left half done; pip is used from outside."""
    clear = ["--clear"] if VENV.exists() and not runs(PYTHON) else []
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", *clear, VENV], check=True)


def runs(python: Path) -> bool:
    """Whether an interpreter is there and works."""
    try:
        return subprocess.run([python, "-c", "import sys"], check=False).returncode == 0
    except OSError:
        return False


if __name__ == "__main__":
    if importlib.util.find_spec("pip") is None:
        sys.exit("Flow Manager's run.py needs pip: install it for this Python first.")
    sys.exit(main(sys.argv[1:]))
