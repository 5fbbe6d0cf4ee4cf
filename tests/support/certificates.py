"""Certificates made on the spot, by the openssl command."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

from attrs import frozen


@frozen
class Pair:
    """A certificate that signs itself, for ``localhost`` and 127.0.0.1, and its key."""

    certificate: Path
    key: Path

    def client_context(self) -> ssl.SSLContext:
        """What a client needs that trusts this certificate alone."""
        return ssl.create_default_context(cafile=str(self.certificate))


def make_pair(folder: Path, name: str = "server", *options: str) -> Pair:
    """Make a certificate and its key; what is there is replaced."""
    pair = Pair(folder / f"{name}.pem", folder / f"{name}.key")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"),
            *("ec_paramgen_curve:prime256v1", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-keyout", str(pair.key), "-out", str(pair.certificate)),
            *(options or ("-nodes",)),
        ],
        check=True,
        capture_output=True,
        timeout=30,
    )
    pair.key.chmod(0o600)
    return pair
