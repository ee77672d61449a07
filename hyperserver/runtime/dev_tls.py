"""A certificate for development: browsers speak HTTP/2 over TLS alone.

An authority is made once for each user; who trusts it, trusts every certificate that is made here
afterwards. Its key never leaves the user's own folder, where only the user can read it.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import shlex
import socket
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from hyperserver.config.schema_tls import TLS
from hyperserver.errors import ConfigError
from hyperserver.observe.logs import logger
from hyperserver.protocol.x509 import parse_certificate, pem_blocks

if TYPE_CHECKING:
    import trustme

#: The longest that Apple's systems accept is 825 days.
_LIFETIME = dt.timedelta(days=365)
_RENEW_BEFORE = 30 * 86_400.0
_MISSING = "`tls.dev`: needs trustme; run `pip install 'hyperserver[dev]'`"
_AUTHORITY, _PUBLIC, _LEAF = "authority.pem", "ca.pem", "localhost.pem"


def with_dev_certificate(tls: TLS) -> TLS:
    """The same settings with a certificate for this machine, made where there is none.

    Raises ConfigError.
    """
    folder = data_folder()
    try:
        leaf = ensure_certificate(folder)
    except OSError as error:
        raise ConfigError(f"`tls.dev`: cannot write to {folder}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"`tls.dev`: {folder} is damaged ({error}); remove it") from None
    logger.info("development TLS; to trust it once and for all: %s", how_to_trust(folder / _PUBLIC))
    return dataclasses.replace(tls, dev=False, certificate=str(leaf), key=str(leaf))


def check_dev_certificate() -> str:
    """What there is, in words, without making anything. Raises ConfigError if none can be made."""
    leaf = data_folder() / _LEAF
    if _is_good(leaf, machine_names()):
        return str(leaf)
    if find_spec("trustme") is None:
        raise ConfigError(_MISSING)
    return "for development, to be made at the start"


def data_folder() -> Path:
    """Where this user's programs keep their data."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library/Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share")
    return base / "hyperserver" / "dev-tls"


def ensure_certificate(folder: Path) -> Path:
    """A file in ``folder`` with a certificate, its chain and its key. Raises OSError, ValueError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    names = machine_names()
    leaf = folder / _LEAF
    if not ((folder / _AUTHORITY).exists() and _is_good(leaf, names)):
        authority = _authority(folder)
        until = dt.datetime.now(dt.UTC) + _LIFETIME
        issued = authority.issue_cert(*names, common_name=names[0], not_after=until)
        parts = (*issued.cert_chain_pems, issued.private_key_pem)
        _write(leaf, b"".join(part.bytes() for part in parts))
    return leaf


def machine_names() -> list[str]:
    """How this machine is reached from itself and, by its name, from its neighbours."""
    own = socket.gethostname().lower()
    names = ["localhost", own, *([] if "." in own else [f"{own}.local"])]
    usable = [name for name in dict.fromkeys(names) if name and name.isascii()]
    return [*usable, "127.0.0.1", "::1"]


def _is_good(leaf: Path, names: list[str]) -> bool:
    """It is there, is for these names, and will be good for a while."""
    try:
        found = parse_certificate(pem_blocks(leaf.read_bytes(), "CERTIFICATE")[0])
    except (OSError, ValueError, IndexError):
        return False
    covered = {*found.names, *found.addresses}
    return covered.issuperset(names) and found.not_after - time.time() > _RENEW_BEFORE


def _authority(folder: Path) -> trustme.CA:
    """The user's authority. Of several processes that make the first one, one succeeds."""
    try:
        import trustme
    except ImportError:
        raise ConfigError(_MISSING) from None
    path = folder / _AUTHORITY
    if not path.exists():
        made = trustme.CA(
            organization_name="hyperserver development",
            organization_unit_name=socket.gethostname(),
        )
        secret = made.private_key_pem.bytes() + made.cert_pem.bytes()
        _write(path, secret, replace=False)
    content = path.read_bytes()
    cut = content.index(b"-----BEGIN CERTIFICATE-----")
    authority = trustme.CA.from_pem(content[cut:], content[:cut])
    _write(folder / _PUBLIC, content[cut:])
    return authority


def _write(path: Path, content: bytes, *, replace: bool = True) -> None:
    """All of it or nothing, readable by the user alone."""
    number, temporary = tempfile.mkstemp(dir=path.parent)  # has the mode 0600
    try:
        with open(number, "wb") as file:
            file.write(content)
        if replace:
            os.replace(temporary, path)
            return
        try:
            os.link(temporary, path)
        except FileExistsError:
            pass
    finally:
        Path(temporary).unlink(missing_ok=True)


def how_to_trust(authority: Path, platform: str = sys.platform) -> str:
    """The command that makes a system trust what this authority has signed."""
    if platform == "win32":
        return f'certutil -user -addstore Root "{authority}"'
    path = shlex.quote(str(authority))
    if platform == "darwin":
        keychain = "~/Library/Keychains/login.keychain-db"
        return f"security add-trusted-cert -r trustRoot -k {keychain} {path}"
    if Path("/etc/pki/ca-trust").is_dir():
        return f"sudo trust anchor {path}"
    target = "/usr/local/share/ca-certificates/hyperserver-dev.crt"
    return f"sudo cp {path} {target} && sudo update-ca-certificates"
