"""Pyright's word on the public types: strict on what users write, and whole for every package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.packaging.dists import DISTS, Dist
from tests.typing.pyright import Pyright, needed_pyright

pytestmark = pytest.mark.node

ROOT = Path(__file__).parents[2]
USER = Path(__file__).parent / "user"
EXAMPLES = [ROOT / "examples" / name for name in ("embedding", "flows")]

#: What is no interface: a program that the demo runs, and classes over python-socketio, which has
#: no types.
EXEMPT = (
    "flow_manager_cli.demo_flow.",
    "flow_manager_socketio.doorkeeper.Doorkeeper.",
    "flow_manager_socketio.engine.",
    "flow_manager_socketio.queues.",
    "flow_manager_socketio.socket_server.",
    "flow_manager_socketio.namespace.Requests",
    "flow_manager_socketio.packets.TextPacket",
)


@pytest.fixture(scope="module")
def pyright() -> Pyright:
    """Pyright."""
    return needed_pyright()


@pytest.mark.parametrize("folder", [USER, *EXAMPLES], ids=lambda folder: folder.name)
def test_what_users_write_is_understood_and_their_mistakes_are_named(
    pyright: Pyright, folder: Path
) -> None:
    report = pyright.report(*([] if folder == USER else [str(folder)]), folder=folder)
    assert report["summary"]["filesAnalyzed"] == len(list(folder.rglob("*.py")))
    told = [_line(diagnostic) for diagnostic in report["generalDiagnostics"]]
    assert not told, "\n".join(told)


@pytest.mark.parametrize("dist", DISTS, ids=lambda dist: dist.name)
def test_every_public_name_has_a_type_that_is_known(pyright: Pyright, dist: Dist) -> None:
    report = pyright.report(
        "--verifytypes", dist.package.name, "--ignoreexternal", folder=dist.folder.parent
    )
    completeness = report["typeCompleteness"]
    assert Path(completeness["pyTypedPath"]) == dist.package / "py.typed"
    unknown = [
        symbol
        for symbol in completeness["symbols"]
        if symbol["isExported"] and not symbol["isTypeKnown"] and not _exempt(symbol["name"])
    ]
    told = [_line(d, s["name"]) for s in unknown for d in s["diagnostics"]]
    assert not told, "\n".join(told)


def _exempt(name: str) -> bool:
    return f"{name}.".startswith(tuple(f"{exempt.rstrip('.')}." for exempt in EXEMPT))


def _line(diagnostic: dict[str, Any], name: str = "") -> str:
    line = diagnostic.get("range", {}).get("start", {}).get("line", -1) + 1
    return f"{diagnostic.get('file', '')}:{line}: {name} {diagnostic['message']}"
