"""The certificate's settings: what cannot be used is named at the start, one fault each."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from flow_manager_core.configuration import configure
from flow_manager_core.errors import ConfigurationError
from flow_manager_core.settings import Settings
from flow_manager_core.settings_check import settings_faults
from flow_manager_core.tls import key_is_exposed, tls_context, tls_faults
from tests.support.certificates import make_pair


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good and bad files."""
    made = tmp_path_factory.mktemp("tls")
    make_pair(made, "good")
    make_pair(made, "other")
    make_pair(made, "locked", "-passout", "pass:abcd")
    (made / "junk").write_text("junk")
    return made


def settings(folder: Path, certificate: str, key: str) -> Settings:
    return Settings(
        tls_certificate=str(folder / certificate) if certificate else "",
        tls_key=str(folder / key) if key else "",
    )


@pytest.mark.parametrize(
    ("certificate", "key", "field", "told"),
    [
        ("none", "good.key", "tls_certificate", "cannot be read: No such file"),
        ("good.pem", "none", "tls_key", "cannot be read: No such file"),
        (".", "good.key", "tls_certificate", "cannot be read: Is a directory"),
        ("junk", "good.key", "tls_certificate", "holds no certificate"),
        ("good.key", "good.key", "tls_certificate", "holds no certificate"),
        ("good.pem", "junk", "tls_key", "holds no private key"),
        ("good.pem", "good.pem", "tls_key", "holds no private key"),
        ("good.pem", "other.key", "tls_key", "does not match the certificate"),
        ("locked.pem", "locked.key", "tls_key", "is encrypted"),
    ],
)
def test_file_that_cannot_be_used_is_one_fault_at_the_start(
    folder: Path, certificate: str, key: str, field: str, told: str
) -> None:
    chosen = settings(folder, certificate, key)
    [fault] = tls_faults(chosen)
    assert fault.field == field
    assert told in fault.message
    given = {"tls_certificate": chosen.tls_certificate, "tls_key": chosen.tls_key}
    with pytest.raises(ConfigurationError) as caught:
        configure(given, {})
    assert fault in caught.value.faults


@pytest.mark.parametrize(
    ("given", "missing"), [(("good.pem", ""), "tls_key"), (("", "good.key"), "tls_certificate")]
)
def test_one_file_without_the_other_is_one_fault(
    folder: Path, given: tuple[str, str], missing: str
) -> None:
    chosen = settings(folder, *given)
    assert [fault.field for fault in settings_faults(chosen)] == [missing]
    assert tls_faults(chosen) == []


def test_context_takes_nothing_older_than_tls_1_2(folder: Path) -> None:
    context = tls_context(settings(folder, "good.pem", "good.key"))
    assert context is not None
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert tls_context(Settings()) is None


def test_key_that_others_can_read_is_noticed(folder: Path) -> None:
    chosen = settings(folder, "good.pem", "good.key")
    assert not key_is_exposed(chosen)
    (folder / "good.key").chmod(0o644)
    assert key_is_exposed(chosen)
    (folder / "good.key").chmod(0o600)
