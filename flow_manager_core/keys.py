"""From the settings to every token in force, with all that is wrong with them at once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from attrs import define, field, frozen

from flow_manager_core.errors import ConfigurationError
from flow_manager_core.keyring import LONGEST, Holder, Key, Keyring
from flow_manager_core.models import Fault, Role
from flow_manager_core.settings import Settings
from flow_manager_core.settings_check import is_loopback
from flow_manager_core.structuring import Faulty
from flow_manager_core.tokens import TokenFile, read_token, with_known_token

#: The name of the one token that is always there: set, of a file, or made.
OWNER = "owner"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
#: Characters of a token that is no guess: of random letters and digits, 95 bits.
LEAST = 16


@frozen
class Entry:
    """One entry of the setting ``tokens``: ``NAME:ROLE:FILE``."""

    holder: Holder
    file: Path

    @classmethod
    def parse(cls, text: str) -> Entry:
        """Read an entry.

        Raises:
            Faulty: it cannot be. The text is never told: somebody may have put a token there.
        """
        name, _, rest = text.partition(":")
        role, colon, file = rest.partition(":")
        if not (colon and file):
            raise Faulty("must be NAME:ROLE:FILE")
        wrong = []
        if not NAME.fullmatch(name):
            wrong.append("the name must hold 1 to 63 letters, digits, _ . -")
        if role not in list(Role):
            wrong.append(f"the role must be one of {', '.join(Role)}")
        if not Path(file).is_absolute():
            wrong.append("the file must be an absolute path")
        if wrong:
            raise Faulty(*wrong)
        return cls(Holder(name, Role(role)), Path(file))


@define
class Keys:
    """What was found.

    Args:
        faults: why these tokens cannot be in force.
        cautions: what is less safe than it could be, for people.
    """

    settings: Settings
    keys: list[Key] = field(factory=list)
    faults: list[Fault] = field(factory=list)
    cautions: list[str] = field(factory=list)

    def take(self, key: Key, setting: str) -> None:
        """Add a token, unless it is somebody else's or too weak for where it is asked for."""
        holder, told = key.holder, f"the token of {key.holder.name}"
        other = next((k.holder.name for k in self.keys if k.token == key.token), None)
        if holder.name in [known.holder.name for known in self.keys]:
            self.faults.append(Fault(setting, f"the name {holder.name} is given twice"))
        elif other is not None:
            self.faults.append(Fault(setting, f"{told} is that of {other} too"))
        elif len(key.token) > LONGEST:
            self.faults.append(Fault(setting, f"{told} has more than {LONGEST} characters"))
        else:
            self.keys.append(key)
            self._weigh(key, setting, told)

    def _weigh(self, key: Key, setting: str, told: str) -> None:
        if len(key.token) >= LEAST:
            return
        short = f"{told} is shorter than {LEAST} characters and can be guessed"
        if is_loopback(self.settings.host):
            self.cautions.append(f"{setting}: {short}")
        else:
            host = self.settings.host or "all addresses"
            self.faults.append(Fault(setting, f"{short}; that is refused on {host}"))

    def take_file(self, entry: Entry) -> None:
        """Add the token of a file."""
        try:
            found = read_token(entry.file, "tokens")
        except ConfigurationError as error:
            self.faults += error.faults
            return
        self.note_readers(found, entry.file, "tokens")
        self.take(Key(entry.holder, found.token), "tokens")

    def note_readers(self, found: TokenFile, path: Path, setting: str) -> None:
        """Mounted secrets are readable by all of their container, so that is no fault."""
        if not found.private:
            self.cautions.append(f"{setting}: {path} can be read by others than its owner")


def find_keys(settings: Settings, *, kept: bool) -> Keys:
    """Read every token that the settings name; for ``no_auth`` none.

    Args:
        kept: whether the one that an earlier start made counts as well. None is made here.
    """
    found = Keys(settings)
    if settings.no_auth:
        return found
    try:
        _find_owner(found, kept=kept)
    except ConfigurationError as error:
        found.faults += error.faults
    for entry in _entries(settings.tokens, found.faults):
        found.take_file(entry)
    return found


def read_keyring(settings: Settings) -> Keyring:
    """Make the keyring of a frontend; it is empty for ``no_auth``, or where no token is set.

    A token that was made counts if it is in the settings, where ``serve`` has put it. Reads files.

    Raises:
        ConfigurationError: with everything that is wrong with the tokens.
    """
    found = find_keys(settings, kept=False)
    if found.faults:
        raise ConfigurationError(found.faults)
    return Keyring(found.keys)


def _find_owner(found: Keys, *, kept: bool) -> None:
    settings, setting = found.settings, "token"
    token = settings.token
    if settings.token_file and not token:
        path, setting = Path(settings.token_file), "token_file"
        file = read_token(path, setting)
        found.note_readers(file, path, setting)
        token = file.token
    elif kept and not token:
        token = with_known_token(settings).token
    if token:
        found.take(Key(Holder(OWNER, Role.ADMIN), token), setting)


def _entries(texts: Sequence[str], faults: list[Fault]) -> Iterator[Entry]:
    """Read the entries; each that cannot be is a fault, named by its place."""
    for place, text in enumerate(texts, start=1):
        try:
            yield Entry.parse(text)
        except Faulty as error:
            faults += [Fault("tokens", f"entry {place}: {f.message}") for f in error.faults]
