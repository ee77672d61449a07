"""A self-signed certificate for 127.0.0.1, made with openssl."""

from __future__ import annotations

import subprocess
from pathlib import Path

CERTIFICATE = "certificate.pem"
KEY = "key.pem"


def make_certificate(folder: Path) -> None:
    """Write CERTIFICATE and KEY (P-256, PKCS #8: granian takes nothing else) into ``folder``."""
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-nodes", "-days", "2"),
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(folder / KEY), "-out", str(folder / CERTIFICATE)),
        ],
        check=True,
        capture_output=True,
    )
    (folder / KEY).chmod(0o600)
