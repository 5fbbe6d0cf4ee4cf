"""Tokens, their names and roles: from the settings to the one who presents one."""

from __future__ import annotations

import hmac
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from flow_manager_core.errors import ConfigurationError
from flow_manager_core.keyring import LONGEST, Holder, Key, Keyring
from flow_manager_core.keys import find_keys, read_keyring
from flow_manager_core.models import Client, Role
from flow_manager_core.settings import Settings
from flow_manager_core.settings_check import settings_faults
from flow_manager_core.tokens import token_path, with_token

OWNER = Holder("owner", Role.ADMIN)
LONG = "a token of some length"
HOLDERS = [OWNER, Holder("ci", Role.OPERATE), Holder("dash", Role.READ)]
KEYS = [Key(holder, f"{LONG}, {holder.name}'s") for holder in HOLDERS]


class Keys:
    """Files of tokens, and the settings that name them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries: list[str] = []

    def file(self, name: str, content: str | bytes, mode: int = 0o600) -> Path:
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(mode)
        return path

    def add(self, name: str, role: str, content: str | bytes, mode: int = 0o600) -> Path:
        path = self.file(name, content, mode)
        self.entries.append(f"{name}:{role}:{path}")
        return path

    def settings(self, **more: Any) -> Settings:
        usual = {"token": LONG, "tokens": tuple(self.entries), "state_dir": self.folder / "state"}
        return Settings(**{**usual, **more})

    def faults(self, **more: Any) -> list[str]:
        found = find_keys(self.settings(**more), kept=True).faults
        return [f"{fault.field}: {fault.message}" for fault in found]


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.holder.name)
def test_a_token_is_its_holder_s(key: Key) -> None:
    assert Keyring(KEYS).holder(key.token) == key.holder


@pytest.mark.parametrize("key", [*KEYS, Key(OWNER, "nobody's")], ids=lambda key: key.token[-9:])
def test_a_token_is_compared_with_every_one_in_constant_time_whatever_matches(key: Key) -> None:
    compared: list[tuple[int, int]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return hmac.compare_digest(one, other)

    Keyring(KEYS, compare).holder(key.token)
    # Digests of one length: not even a token's length can be found by the time that this takes.
    assert compared == [(32, 32)] * len(KEYS)


@pytest.mark.parametrize(
    "token",
    ["", " ", "\0", "ä" * 20, "\ud83d", "😀", LONG, LONG + "x", "x" * 10_000_000, "\ud83d" * 4000],
    ids=lambda token: f"{token[:9].encode('unicode_escape').decode()} of {len(token)}",
)
def test_a_token_of_any_kind_and_size_that_is_nobody_s_is_refused(token: str) -> None:
    assert Keyring([Key(OWNER, LONG + "y"), Key(OWNER, "?")]).holder(token) is None


def test_a_token_need_not_be_ascii(keys: Keys) -> None:
    keys.add("ci", "operate", "pässwörter sind länger 😀\n")
    assert read_keyring(keys.settings()).holder("pässwörter sind länger 😀") == HOLDERS[1]


def test_a_huge_token_is_refused_before_any_comparison() -> None:
    def compare(_one: bytes, _other: bytes) -> bool:
        raise AssertionError("compared")

    assert Keyring(KEYS, compare).holder("x" * (LONGEST + 1)) is None


def test_an_empty_keyring_lets_nobody_in() -> None:
    assert not Keyring([])
    assert Keyring([]).holder(LONG) is None


def test_every_token_that_is_set_is_in_force_with_its_name_and_role(keys: Keys) -> None:
    keys.add("ci", "operate", KEYS[1].token)
    keys.add("dash", "read", f" {KEYS[2].token} \n")
    ring = read_keyring(keys.settings())
    assert [ring.holder(token) for token in (LONG, KEYS[1].token, KEYS[2].token)] == HOLDERS
    assert not find_keys(keys.settings(), kept=True).cautions


def test_the_made_token_is_the_owner_s_and_no_embedder_s(keys: Keys) -> None:
    keys.add("dash", "read", KEYS[2].token)
    made = with_token(keys.settings(token=""))
    assert read_keyring(made).holder(made.token) == OWNER
    without = read_keyring(keys.settings(token=""))
    assert without.holder(made.token) is None
    assert without.holder(KEYS[2].token) == HOLDERS[2]


def test_a_token_file_is_the_owner_s(keys: Keys) -> None:
    file = keys.file("token", KEYS[0].token)
    ring = read_keyring(keys.settings(token="", token_file=str(file)))
    assert ring.holder(KEYS[0].token) == OWNER


def test_all_that_is_wrong_with_tokens_is_told_in_one_go(keys: Keys, tmp_path: Path) -> None:
    keys.add("same", "read", LONG)
    keys.add("empty", "read", " \n")
    keys.add("bytes", "read", b"\xff" * 20)
    keys.add("huge", "read", "x" * 5000)
    os.mkfifo(tmp_path / "pipe")
    keys.entries += [
        "form",
        "form:read",
        "form:read:",
        "a b:boss:relative",
        f"gone:read:{tmp_path}/none",
        f"folder:read:{tmp_path}",
        f"pipe:read:{tmp_path}/pipe",
        f"owner:admin:{keys.file('other', KEYS[1].token)}",
    ]
    assert sorted(keys.faults()) == sorted(
        [
            "tokens: the token of same is that of owner too",
            f"tokens: {tmp_path}/empty holds no token",
            f"tokens: {tmp_path}/bytes cannot be read: it is not UTF-8",
            f"tokens: {tmp_path}/huge holds more than 4096 bytes",
            "tokens: entry 5: must be NAME:ROLE:FILE",
            "tokens: entry 6: must be NAME:ROLE:FILE",
            "tokens: entry 7: must be NAME:ROLE:FILE",
            "tokens: entry 8: the name must hold 1 to 63 letters, digits, _ . -",
            "tokens: entry 8: the role must be one of read, operate, admin",
            "tokens: entry 8: the file must be an absolute path",
            f"tokens: {tmp_path}/none cannot be read: No such file or directory",
            f"tokens: {tmp_path} is no regular file",
            f"tokens: {tmp_path}/pipe is no regular file",
            "tokens: the name owner is given twice",
        ]
    )
    with pytest.raises(ConfigurationError) as caught:
        read_keyring(keys.settings())
    assert len(caught.value.faults) == 14


def test_no_fault_and_no_caution_tells_a_token(keys: Keys) -> None:
    secret = "hunter2"
    keys.add("short", "read", secret, 0o644)
    keys.add("same", "read", secret)
    keys.entries += [secret, f"a:{secret}:/x", f"a:read:{secret}"]
    found = find_keys(keys.settings(token=secret, host="0.0.0.0"), kept=True)
    assert len(found.faults) >= 5
    assert secret not in f"{found.faults} {found.cautions} {found.keys}"


def test_a_secret_that_is_mounted_for_all_to_read_is_taken_with_a_caution(keys: Keys) -> None:
    path = keys.add("ci", "operate", KEYS[1].token, 0o444)
    found = find_keys(keys.settings(), kept=True)
    assert not found.faults
    assert found.cautions == [f"tokens: {path} can be read by others than its owner"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o444


def test_the_made_token_that_others_can_read_is_refused(keys: Keys) -> None:
    with_token(keys.settings(token=""))
    token_path(keys.settings()).chmod(0o640)
    (fault,) = keys.faults(token="")
    assert "chmod 600" in fault
    assert keys.faults() == []


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.1.2.3", "flows.example"])
def test_a_token_that_can_be_guessed_is_refused_off_loopback(keys: Keys, host: str) -> None:
    keys.add("ci", "operate", "x" * 15)
    told = keys.faults(token="y" * 15, host=host)
    assert [fault.partition(":")[0] for fault in told] == ["token", "tokens"]
    assert all("shorter than 16 characters" in fault for fault in told)
    assert keys.faults(host="localhost") == []
    keys.file("ci", "x" * 16)
    assert keys.faults(token="y" * 16, host=host) == []


def test_a_token_that_can_be_guessed_is_a_caution_on_loopback(keys: Keys) -> None:
    keys.add("ci", "operate", "x" * 15)
    found = find_keys(keys.settings(token="y" * 15), kept=True)
    assert [caution.partition(":")[0] for caution in found.cautions] == ["token", "tokens"]
    assert not found.faults


def test_no_auth_contradicts_tokens() -> None:
    settings = Settings(no_auth=True, tokens=("ci:read:/x",))
    assert [fault.field for fault in settings_faults(settings)] == ["no_auth"]
    assert not find_keys(settings, kept=True).faults


def test_a_role_covers_those_below_it() -> None:
    covers = {role: [other for other in Role if role.covers(other)] for role in Role}
    assert covers == {
        Role.READ: [Role.READ],
        Role.OPERATE: [Role.READ, Role.OPERATE],
        Role.ADMIN: [Role.READ, Role.OPERATE, Role.ADMIN],
    }


def test_a_client_of_a_frontend_that_knows_no_roles_may_do_everything() -> None:
    assert Client("mine", "1").role is Role.ADMIN
    assert Client("mine", "1", role="read").role is Role.READ  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="boss"):
        Client("mine", "1", role="boss")  # type: ignore[arg-type]
