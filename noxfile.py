"""The project's habits as nox sessions; `python3 run.py test` runs those a change must pass."""

from __future__ import annotations

import hashlib
from pathlib import Path

import nox

nox.needs_version = ">=2024.10"
nox.options.sessions = ["lint", "all"]
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_venv = "yes"
nox.options.error_on_missing_interpreters = True

ROOT = Path(__file__).parent
CONSTRAINTS = ROOT / "constraints.txt"
PYPROJECT = nox.project.load_toml(ROOT / "pyproject.toml")

#: The folders of the distributions, the core's first, and their import packages.
DISTS = [ROOT, *sorted(p.parent for p in ROOT.glob("plugins/*/pyproject.toml")), ROOT / "sdk"]
PACKAGES = [p.parent for dist in DISTS for p in sorted(dist.glob("flow_manager_*/__init__.py"))]


#: Tests wait more than they compute, so there may be more workers than processors. What a worker
#: is given as a whole, and in which order, is said in tests/support/units.py. None takes the place
#: of one that was ended for a test that hangs: it would begin that test again.
IN_PARALLEL = (
    "--numprocesses=6",
    "--dist=loadfile",
    "--no-loadscope-reorder",
    "--max-worker-restart=0",
)


def group(name: str) -> list[str]:
    """Return the requirements of one of pyproject.toml's dependency groups."""
    return list(nox.project.dependency_groups(PYPROJECT, name))


def install(session: nox.Session, *requirements: str, dists: bool = True) -> None:
    """Install requirements, and with `dists` every distribution of the repository, editable.

    A finished environment is taken as it is until a pyproject.toml or the constraints change.
    """
    sources = [CONSTRAINTS, *(dist / "pyproject.toml" for dist in DISTS)]
    digest = hashlib.sha256(repr([session.python, requirements, dists]).encode())
    for source in sources:
        digest.update(source.read_bytes())
    stamp = Path(session.virtualenv.location) / "ready-for-nox.txt"
    if stamp.exists() and stamp.read_text() == digest.hexdigest():
        return
    constraint = f"--constraint={CONSTRAINTS}"
    session.install(constraint, "hatchling", "editables", *requirements)
    if dists:
        editable = [f"--editable={dist}" for dist in DISTS]
        session.install(constraint, "--no-build-isolation", *editable)
    stamp.write_text(digest.hexdigest())


def pytest(session: nox.Session, *arguments: str) -> None:
    """Run pytest; only a choice of the caller's may leave a session without a test.

    Its many processes share compiled code, even where the caller's own keep none.
    """
    no_tests = [5] if session.posargs else []
    session.run(
        "pytest",
        *arguments,
        *session.posargs,
        success_codes=[0, *no_tests],
        env={"PYTHONDONTWRITEBYTECODE": ""},
    )


@nox.session
def lint(session: nox.Session) -> None:
    """Style, mistakes, formatting, and who may import whom."""
    install(session, *group("lint"), dists=False)
    session.run("ruff", "check", "--output-format=concise", ".")
    session.run("ruff", "format", "--check", ".")
    path = ":".join(str(package.parent) for package in PACKAGES)
    session.run("lint-imports", "--no-cache", env={"PYTHONPATH": path})


@nox.session(name="all")
def everything(session: nox.Session) -> None:
    """Types and every test, in one environment: with lint, what a change must pass."""
    install(session, *dict.fromkeys([*group("types"), *group("test"), *group("bench")]))
    check_types(session)
    prepare(session)
    pytest(session, "-m", "alone")
    pytest(session, "-m", "not alone", *IN_PARALLEL)


@nox.session
def types(session: nox.Session) -> None:
    """Types, strictly: of everything that users import, of what users write, of the examples."""
    install(session, *group("types"))
    check_types(session)


def check_types(session: nox.Session) -> None:
    """Run mypy on all that has types."""
    session.run("mypy", *map(str, PACKAGES))
    session.run("mypy", *map(str, sorted(ROOT.glob("examples/embedding/*.py"))))
    with session.chdir(ROOT / "tests" / "typing" / "user"):
        session.run("mypy", ".")


def prepare(session: nox.Session) -> None:
    """Fetch what tests need from elsewhere: their workers have no network."""
    session.run("python", "-m", "tests.support.prepare")


@nox.session
def tests(session: nox.Session) -> None:
    """Every test but those of wheels; with arguments, which go to pytest, in one process."""
    install(session, *group("test"))
    prepare(session)
    if session.posargs:
        pytest(session, "-m", "not wheels")
        return
    pytest(session, "-m", "alone")
    pytest(session, "-m", "not alone and not wheels", *IN_PARALLEL)


@nox.session
def trouble(session: nox.Session) -> None:
    """Kill, freeze and restart engines and managers, at every step and at random."""
    install(session, *group("test"))
    pytest(session, "-m", "trouble")


@nox.session
def fuzz(session: nox.Session) -> None:
    """Fuzz frames, payloads and packets; arguments: `--seconds 600`, `--seed 1`, a target."""
    install(session, *group("test"))
    session.run("python", "-m", "tests.fuzz.run", *session.posargs)


@nox.session
def docker(session: nox.Session) -> None:
    """Only the tests on a real Docker Engine."""
    install(session, *group("test"))
    pytest(session, "-m", "docker")


@nox.session
def docs(session: nox.Session) -> None:
    """The tests that hold the documentation to the code."""
    install(session, *group("test"))
    pytest(session, "tests/docs")


@nox.session
def wheels(session: nox.Session) -> None:
    """Build all wheels, and use chosen subsets of them in clean environments."""
    install(session, *group("test"))
    pytest(session, "-m", "wheels", "tests/packaging")


@nox.session
def bench(session: nox.Session) -> None:
    """Measure speed beside its limits; arguments: `--rounds 5`, `--only NAME`, `--json FILE`."""
    install(session, *group("test"), *group("bench"))
    prepare(session)
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    """Show Flow Manager at work; arguments go to `flow-manager demo`."""
    install(session)
    session.run("flow-manager", "demo", *session.posargs)
