"""The code folder of a container: how it is found, replaced and read. Blocking."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any
from urllib.parse import quote

from attrs import frozen
from docker.errors import NotFound

from flow_manager_core.errors import EngineError
from flow_manager_docker.client import EngineClient, EngineStream
from flow_manager_docker.code_archive import empty_archive, pack_for_engine, unpack_from_engine
from flow_manager_docker.command_check import GO_FOLDER, GO_LINK, path_stat, read_stat
from flow_manager_docker.create_arguments import lies_in, normal
from flow_manager_docker.labels import CODE_DIR


@frozen
class CodeFolder:
    """One container's code folder.

    Args:
        container_id: the engine's.
        path: in the container, absolute.
        owner: user and group of what is written.
        mounted: where the container sees the host's files.
    """

    container_id: str
    path: str
    owner: tuple[int, int]
    mounted: Sequence[str]

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> CodeFolder:
        """Find it in what the engine says of the container.

        Raises:
            EngineError: the container has none, or it holds a volume: replacing the code would
                wipe the volume's files.
        """
        path = (found["Config"]["Labels"] or {}).get(CODE_DIR)
        if not path:
            raise EngineError("The container was made without code_path: it has no code folder")
        mounted = [mount["Destination"] for mount in found["Mounts"]]
        inside = [target for target in mounted if lies_in(target, path)]
        if inside:
            raise EngineError(f"The volume {inside[0]} lies in the code folder {path}")
        return cls(found["Id"], path, _owner(found["Config"]["User"]), mounted)

    def write(self, client: EngineClient, archive: Path, timeout: float) -> None:
        """Replace its content; a link in the folder's place is replaced by a folder."""
        parent, name = posixpath.split(self.path)
        self._refuse_mounted(posixpath.join(self._resolved(client, parent), name))
        with TemporaryFile() as rewritten:
            pack_for_engine(archive, rewritten, self.path, self.owner)
            rewritten.seek(0)
            with self._open(client, "PUT", "/", timeout, data=rewritten):
                return

    def read(self, client: EngineClient, archive: Path, timeout: float, limit: int) -> None:
        """Write its content into a new archive; a folder that is gone is one without files."""
        self._refuse_mounted(self._resolved(client, self.path))
        try:
            # With the dot the engine follows a link, within the container, to what it leads to.
            with self._open(client, "GET", f"{self.path}/.", timeout) as stream:
                if read_stat(stream.headers)["mode"] & GO_FOLDER:
                    return unpack_from_engine(stream.raw, archive, limit)
        except NotFound as error:
            if "no such container" in str(error.explanation).lower():
                raise
        return empty_archive(archive)

    def _resolved(self, client: EngineClient, path: str) -> str:
        """Where a path of the container leads. Nothing moves there: it does not run."""
        found = "/"
        for name in path.split("/")[1:]:
            found = posixpath.join(found, name)
            stat = path_stat(client, self.container_id, found) if name else None
            if stat and stat["mode"] & GO_LINK:
                # The target is told resolved, as the container sees it.
                found = normal(stat["linkTarget"])
        return found

    def _refuse_mounted(self, path: str) -> None:
        """Keep away from the host's files, which the engine mounts for the archive calls as well.

        A program can put a link to them above its code folder.
        """
        inside = [target for target in self.mounted if lies_in(path, target)]
        if inside:
            raise EngineError(f"The code folder {self.path} leads into the volume {inside[0]}")

    def _open(
        self, client: EngineClient, method: str, path: str, timeout: float, **options: Any
    ) -> EngineStream:
        where = f"/containers/{quote(self.container_id, safe='')}/archive"
        return client.open(method, where, params={"path": path}, timeout=timeout, **options)


def _owner(user: str) -> tuple[int, int]:
    """Read ``uid`` or ``uid:gid``; names are the image's own and mean root here."""
    uid, _, gid = user.partition(":")
    if not uid.isdecimal():
        return 0, 0
    return int(uid), int(gid) if gid.isdecimal() else int(uid)
