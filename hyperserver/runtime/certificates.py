"""Reading certificate files, and what an operator should know about them.

What makes a file useless raises ConfigError, in one line that names the setting and the file. What
is merely unwise, or soon will be, is a finding: start-up and reloading log them.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hyperserver.config.schema_tls import TLS, Certificate, ClientAuth
from hyperserver.errors import ConfigError, Mistakes
from hyperserver.protocol.x509 import (
    X509,
    crl_expiry,
    parse_certificate,
    pem_blocks,
    pem_encode,
    rfc4514,
)

_DAY = 86_400.0
#: Days before its end from which a certificate is warned about. Those that live for less than
#: six weeks are renewed later than this: for them it is the last third of their life.
WARN_DAYS = 14
#: Of an RSA key. OpenSSL has such a bound as well, but on some systems a lower one.
_LEAST_BITS = 2048


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to be logged, as an error or as a warning."""

    is_error: bool
    setting: str
    message: str

    def __str__(self) -> str:
        return f"`{self.setting}`: {self.message}"


@dataclass(frozen=True, slots=True)
class Loaded:
    """One certificate as its files were: ``place`` is its table in the configuration, ``digest``
    is of all that was read.
    """

    place: str
    certificate: str
    key: str
    password: str | None
    chain: tuple[X509, ...]
    #: The certificate itself, in PEM.
    pem: str
    digest: bytes

    @property
    def leaf(self) -> X509:
        return self.chain[0]

    def describe(self) -> str:
        """For the log: for whom, and until when."""
        names = (*self.leaf.names, *self.leaf.addresses)
        until = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(self.leaf.not_after))
        return f"{', '.join(names[:8]) or 'nobody'}{', …' if len(names) > 8 else ''} until {until}"


@dataclass(frozen=True, slots=True)
class Authority:
    """Who may vouch for clients: a policy with what its files hold."""

    policy: ClientAuth
    place: str
    crl_ends: float | None
    digest: bytes


def read_all(tls: TLS, mistakes: Mistakes) -> list[tuple[Loaded, Authority]]:
    """Every certificate that can be read, with the policy for its clients."""
    everyone: list[tuple[Loaded, Authority]] = []
    for number, entry in enumerate(tls.entries()):
        place = "tls" if tls.certificate is not None else f"tls.certificates[{number}]"
        own = entry.client_auth
        auth = tls.client_auth if own is None else own
        where = "tls" if own is None else place
        authority = Authority(ClientAuth(), where, None, b"")
        with mistakes:
            authority = read_authority(auth, where)
        with mistakes:
            everyone.append((read_certificate(entry, place), authority))
    return everyone


def read_certificate(entry: Certificate, place: str) -> Loaded:
    """Read and understand the files of ``entry``. Raises ConfigError."""
    mistakes = Mistakes()
    with mistakes:
        chain_pem, chain = _read_chain(entry.certificate, f"{place}.certificate")
    with mistakes:
        key_pem = _read(entry.key, f"{place}.key", b"PRIVATE KEY-----", "private key")
        _refuse_public(entry.key, f"{place}.key")
    with mistakes:
        password = _password(entry, place)
    mistakes.raise_all()
    digest = _digest(chain_pem, key_pem, (password or "").encode())
    pem = pem_encode(pem_blocks(chain_pem, "CERTIFICATE")[0])
    return Loaded(place, entry.certificate, entry.key, password, chain, pem, digest)


def _read_chain(path: str, setting: str) -> tuple[bytes, tuple[X509, ...]]:
    """The content of the file, and the certificates in it. Raises ConfigError."""
    pem = _read(path, setting, b"-----BEGIN CERTIFICATE-----", "certificate")
    try:
        ders = pem_blocks(pem, "CERTIFICATE")
        chain = tuple(map(parse_certificate, ders))
        if not chain:
            raise ValueError("a block that does not end")
    except ValueError:
        raise ConfigError(f"`{setting}`: {path} holds a damaged certificate") from None
    bits = chain[0].key_bits
    if 0 < bits < _LEAST_BITS:
        raise ConfigError(
            f"`{setting}`: {path} has an RSA key of {bits} bits; clients refuse less "
            f"than {_LEAST_BITS}"
        )
    return pem, chain


def read_authority(auth: ClientAuth, place: str) -> Authority:
    """Read and understand the files of ``auth``. Raises ConfigError."""
    if auth.mode == "off" or auth.ca is None:
        return Authority(ClientAuth(), place, None, b"")
    mistakes = Mistakes()
    crl: bytes = b""
    ends: float | None = None
    with mistakes:
        ca = _read_ca(auth.ca, f"{place}.client_auth.ca")
    with mistakes:
        if auth.crl is not None:
            crl, ends = _read_crl(auth.crl, f"{place}.client_auth.crl")
    mistakes.raise_all()
    return Authority(auth, place, ends, _digest(ca, crl))


def _read_ca(path: str, setting: str) -> bytes:
    """The content of a file of authorities. Raises ConfigError."""
    pem = _read(path, setting, b"-----BEGIN CERTIFICATE-----", "certificate")
    try:
        for der in pem_blocks(pem, "CERTIFICATE"):
            parse_certificate(der)
    except ValueError:
        raise ConfigError(f"`{setting}`: {path} is damaged") from None
    return pem


def _read_crl(path: str, setting: str) -> tuple[bytes, float | None]:
    """The content of a file of revocation lists, and when the first ends. Raises ConfigError."""
    pem = _read(path, setting, b"-----BEGIN X509 CRL-----", "revocation list")
    try:
        ends = [crl_expiry(der) for der in pem_blocks(pem, "X509 CRL")]
    except ValueError:
        raise ConfigError(f"`{setting}`: {path} is damaged") from None
    return pem, min((end for end in ends if end is not None), default=None)


def watched(tls: TLS) -> list[str]:
    """All files whose change may change a handshake."""
    paths: list[str | None] = []
    for entry in tls.entries():
        paths += (entry.certificate, entry.key, entry.key_password_file)
        if entry.client_auth is not None:
            paths += (entry.client_auth.ca, entry.client_auth.crl)
    paths += (tls.client_auth.ca, tls.client_auth.crl)
    return sorted({path for path in paths if path is not None})


def inspect(everyone: Sequence[tuple[Loaded, Authority]], now: float) -> Iterator[Finding]:
    """What is to be said of them at the time ``now``, in seconds since 1970."""
    for loaded, authority in everyone:
        yield from _inspect_certificate(loaded, now)
        if authority.crl_ends is not None and authority.crl_ends < now:
            message = (
                f"{authority.policy.crl} was to be replaced by {_date(authority.crl_ends)}: "
                "no client's certificate is accepted until it is"
            )
            yield Finding(True, f"{authority.place}.client_auth.crl", message)


def _inspect_certificate(loaded: Loaded, now: float) -> Iterator[Finding]:
    setting = f"{loaded.place}.certificate"
    path = loaded.certificate
    leaf = loaded.leaf
    warn_from = leaf.not_after - min(WARN_DAYS * _DAY, (leaf.not_after - leaf.not_before) / 3)
    if now > leaf.not_after:
        yield Finding(True, setting, f"{path} has expired on {_date(leaf.not_after)}")
    elif now < leaf.not_before:
        yield Finding(True, setting, f"{path} is not valid before {_date(leaf.not_before)}")
    elif now > warn_from:
        left = (leaf.not_after - now) / _DAY
        yield Finding(
            False, setting, f"{path} expires in {left:.1f} days, on {_date(leaf.not_after)}"
        )
    if not leaf.names and not leaf.addresses:
        yield Finding(
            False, setting, f"{path} names no host (no subject alternative name): clients refuse it"
        )
    for below, above in zip(loaded.chain, loaded.chain[1:], strict=False):
        if below.issuer != above.subject:
            message = (
                f"the chain in {path} is out of order: behind {_name(below.subject)!r} must come "
                f"{_name(below.issuer)!r}, not {_name(above.subject)!r}"
            )
            yield Finding(False, setting, message)
            break


def _name(der: bytes) -> str:
    try:
        return rfc4514(der)
    except ValueError:
        return "a damaged name"


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def _read(path: str, setting: str, mark: bytes, what: str) -> bytes:
    """The content of a file that must hold ``what``."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise ConfigError(f"`{setting}`: cannot read {path}: {error.strerror}") from None
    except ValueError:  # a NUL
        raise ConfigError(f"`{setting}`: {path!r} is not a path") from None
    if mark not in content:
        raise ConfigError(f"`{setting}`: {path} holds no {what} in PEM form")
    return content


def _refuse_public(path: str, setting: str) -> None:
    """A key that everybody on the machine can read is no secret."""
    if os.name == "posix" and os.stat(path).st_mode & stat.S_IROTH:
        raise ConfigError(
            f"`{setting}`: everybody on this machine can read {path}; run `chmod o= {path}`"
        )


def _password(entry: Certificate, place: str) -> str | None:
    if entry.key_password_env is not None:
        password = os.environ.get(entry.key_password_env)
        if password is None:
            raise ConfigError(
                f"`{place}.key_password_env`: there is no variable {entry.key_password_env} "
                "in the environment"
            )
        return password
    if entry.key_password_file is None:
        return None
    path = entry.key_password_file
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().rstrip("\r\n")
    except OSError as error:
        raise ConfigError(
            f"`{place}.key_password_file`: cannot read {path}: {error.strerror}"
        ) from None
    except ValueError:
        raise ConfigError(f"`{place}.key_password_file`: {path} holds no password") from None


def _digest(*parts: bytes) -> bytes:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8) + part)
    return whole.digest()
