"""Fetches what the tests need from elsewhere: ``python -m tests.support.prepare``.

The tests themselves need no network: their workers have none.
"""

from __future__ import annotations

import shutil

from tests.node.node_fixture import install
from tests.packaging.wheelhouse import wheelhouse
from tests.support.images import debian_tar
from tests.typing.pyright import install_pyright


def main() -> None:
    """Fetch what the programs that are installed can use."""
    wheelhouse()
    if shutil.which("mmdebstrap"):
        debian_tar()
    if npm := shutil.which("npm"):
        install(npm)
        install_pyright(npm)


if __name__ == "__main__":
    main()
