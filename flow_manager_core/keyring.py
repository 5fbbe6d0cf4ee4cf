"""Whose token this is: every token in force, compared with in constant time."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterable

from attrs import frozen

from flow_manager_core.models import Role

#: Characters of a presented token that is looked at; no file of ours may hold a longer one.
LONGEST = 4096


@frozen
class Holder:
    """Who a token belongs to: its name, and what may be asked for with it."""

    name: str
    role: Role


@frozen
class Key:
    """A token and its holder."""

    holder: Holder
    token: str

    def __repr__(self) -> str:
        """Without the token."""
        return f"Key({self.holder!r})"


class Keyring:
    """Finds the holder of a token that somebody presents.

    Tokens are kept and compared as digests under a key of this keyring's own: all of one length,
    so that neither a token nor its length can be found by the time that a refusal takes.

    Args:
        keys: every token in force.
        compare: tells whether two digests are the same, in a time that does not depend on them.
    """

    def __init__(
        self, keys: Iterable[Key], compare: Callable[[bytes, bytes], bool] = hmac.compare_digest
    ) -> None:
        self._salt = secrets.token_bytes(32)
        self._compare = compare
        self._known = [(key.holder, self._digest(key.token)) for key in keys]

    def __bool__(self) -> bool:
        """Whether anybody could be let in."""
        return bool(self._known)

    def holder(self, token: str) -> Holder | None:
        """Say whose token this is; ``None`` for nobody's.

        It is compared with every token, also after it was found. Any text will do; an empty one,
        and one over `LONGEST` characters, is nobody's without a comparison.
        """
        if not 0 < len(token) <= LONGEST:
            return None
        presented, found = self._digest(token), None
        for holder, known in self._known:
            if self._compare(known, presented):
                found = holder
        return found

    def _digest(self, token: str) -> bytes:
        # A lone surrogate, which JSON may carry, is no character of a token: but it is a text.
        text = token.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, digest_size=32, key=self._salt).digest()
