"""The flows' secrets: made once, kept over the manager's lives, known by what they are."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from urllib.parse import quote, unquote

from flow_manager_tcp.private_files import PrivateFiles, Unsafe

#: Random bytes of a secret: 256 bits, written in 43 characters.
SIZE = 32
SUFFIX = ".secret"
#: Bytes of a file's name, on Linux's file systems.
LONGEST_FILE_NAME = 255
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")


def file_name(name: str) -> str:
    """The file of a container's secret; no container's name leads out of the folder."""
    return quote(name, safe="") + SUFFIX


class Vault:
    """All secrets of one instance. A secret says nothing by itself; it is looked up by its digest.

    Reading and writing files blocks: call `load`, `keep` and `forget` in a worker thread.
    """

    def __init__(self, files: PrivateFiles) -> None:
        self._files = files
        self._secrets: dict[str, str] = {}
        self._owners: dict[bytes, str] = {}

    def load(self) -> list[str]:
        """Learn the secrets that an earlier life made; return what is wrong with others.

        Raises:
            Unsafe, OSError: the folder cannot be used.
        """
        wrong = []
        for file in self._files.names():
            if file.endswith(SUFFIX):
                try:
                    self._read(unquote(file.removesuffix(SUFFIX)))
                except (Unsafe, OSError) as error:
                    wrong.append(str(error))
        return wrong

    def keep(self, name: str) -> bool:
        """See that a container has a secret; tell whether it had to be made.

        Raises:
            Unsafe: what stands in the file's place is not to be trusted.
            OSError: it cannot be kept.
        """
        if name in self._secrets or self._read(name):
            return False
        made = secrets.token_urlsafe(SIZE)
        self._files.write(file_name(name), made)
        self._learn(name, made)
        return True

    def secret(self, name: str) -> str:
        """The secret of a container that has one."""
        return self._secrets[name]

    def forget(self, name: str) -> None:
        """Let a container's secret be worth nothing from now on.

        Raises:
            Unsafe, OSError: its file cannot be removed.
        """
        known = self._secrets.pop(name, None)
        if known is not None:
            self._owners.pop(_digest(known), None)
        self._files.remove(file_name(name))

    def owner(self, secret: str) -> str | None:
        """The name of the container that this is the secret of.

        How long it takes tells a guesser nothing: what is compared early is a digest.
        """
        name = self._owners.get(_digest(secret), "")
        known = self._secrets.get(name, "")
        return name if known and hmac.compare_digest(known.encode(), secret.encode()) else None

    def _read(self, name: str) -> bool:
        found = self._files.read(file_name(name))
        if found is None:
            return False
        if not _SECRET.fullmatch(found):
            raise Unsafe(f"{self._files.path / file_name(name)} holds no secret")
        self._learn(name, found)
        return True

    def _learn(self, name: str, secret: str) -> None:
        owner = self._owners.setdefault(_digest(secret), name)
        if owner != name:
            raise Unsafe(f"{name} has the secret of {owner}: remove one of the two files")
        self._secrets[name] = secret


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
