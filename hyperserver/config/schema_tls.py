"""The settings of TLS: see ``schema``, of which they are a part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass
from typing import ClassVar

from hyperserver.config.settings import setting
from hyperserver.errors import Mistakes


@dataclass(frozen=True, slots=True)
class ClientAuth:
    """Certificates of clients (mutual TLS)."""

    mode: str = setting(
        "off",
        "optional: a client may show a certificate, which must be good; required: it must.",
        choices=("off", "optional", "required"),
    )
    ca: str | None = setting(
        None,
        "PEM file with the certificates that vouch for those of clients.",
        unit="path",
        example="tls/clients.pem",
    )
    crl: str | None = setting(
        None,
        "PEM file with the lists of certificates that they have revoked.",
        unit="path",
        example="tls/revoked.pem",
    )

    def __post_init__(self) -> None:
        mistakes = Mistakes()
        if self.mode != "off" and self.ca is None:
            mistakes.add(
                f'`tls.client_auth.mode`: "{self.mode}" needs `tls.client_auth.ca` beside it'
            )
        if self.mode == "off" and self.ca is not None:  # whoever names them wants to have them
            mistakes.add(
                '`tls.client_auth.ca`: needs `tls.client_auth.mode` = "required" or "optional" '
                "beside it"
            )
        if self.crl is not None and self.ca is None:
            mistakes.add("`tls.client_auth.crl`: needs `tls.client_auth.ca` beside it")
        mistakes.raise_all()


@dataclass(frozen=True, slots=True)
class Certificate:
    """One of several certificates. It serves the host names that it is made out to."""

    certificate: str = setting(
        MISSING,
        "PEM file with the certificate and those that vouch for it.",
        unit="path",
        example="tls/shop.pem",
    )
    key: str = setting(
        MISSING,
        "PEM file with the certificate's private key.",
        unit="path",
        example="tls/shop.key",
    )
    key_password_file: str | None = setting(
        None,
        "File with the password of an encrypted key.",
        unit="path",
        example="/run/secrets/key-password",
    )
    key_password_env: str | None = setting(
        None,
        "Environment variable with the password of an encrypted key.",
        example="KEY_PASSWORD",
    )
    client_auth: ClientAuth | None = setting(  # noqa: RUF009 - a field like the others
        None, "In place of [tls.client_auth], for these host names."
    )

    def __post_init__(self) -> None:
        mistakes = Mistakes()
        _check_password(self, "tls.certificates", mistakes)
        mistakes.raise_all()


@dataclass(frozen=True, slots=True)
class TLS:
    """TLS, for the listeners that ask for it."""

    RELOAD: ClassVar[str] = "live"
    #: Each of these keys sets TLS up, so that a listener can speak it; with what belongs to it, and
    #: gives way when another one is set by what comes before it (a flag before a variable, both
    #: before the file).
    SOURCES: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "certificate": ("key", "key_password_file", "key_password_env"),
        "certificates": (),
        "dev": (),
    }

    certificate: str | None = setting(
        None,
        "PEM file with the certificate and those that vouch for it.",
        unit="path",
        example="tls/fullchain.pem",
    )
    key: str | None = setting(
        None,
        "PEM file with the certificate's private key.",
        unit="path",
        example="tls/privkey.pem",
    )
    key_password_file: str | None = setting(
        None,
        "File with the password of an encrypted key.",
        unit="path",
        example="/run/secrets/key-password",
    )
    key_password_env: str | None = setting(
        None,
        "Environment variable with the password of an encrypted key.",
        example="KEY_PASSWORD",
    )
    certificates: tuple[Certificate, ...] = setting(
        (), "Several certificates in place of one; the first is the default."
    )
    profile: str = setting(
        "intermediate",
        "Mozilla's name for a choice of versions and ciphers; modern is TLS 1.3 alone.",
        choices=("intermediate", "modern"),
    )
    minimum_version: str | None = setting(
        None,
        "Oldest version of TLS that is spoken; unless set, the profile's.",
        choices=("1.2", "1.3"),
    )
    sni_strict: bool = setting(
        False, "Refuse clients that name no host of ours, instead of showing the first certificate."
    )
    reload: float = setting(
        10.0,
        "Within what time new certificate files are taken; with 0s, on SIGHUP alone.",
        unit="duration",
        minimum=0,
    )
    dev: bool = setting(
        False, "Make a certificate for this machine, for development.", flag="--dev-tls"
    )
    client_auth: ClientAuth = setting(  # noqa: RUF009 - a field like the others
        ClientAuth(), "Certificates of clients."
    )

    def __post_init__(self) -> None:
        mistakes = Mistakes()
        if self.certificate is not None and self.key is None:
            mistakes.add("`tls.certificate`: needs `tls.key` beside it")
        if self.key is not None and self.certificate is None:
            mistakes.add("`tls.key`: needs `tls.certificate` beside it")
        if self.certificates and self.certificate is not None:
            mistakes.add(
                "`tls.certificate`: contradicts `tls.certificates`; write it as the first of those"
            )
        if self.dev and self.certificate is not None:
            mistakes.add("`tls.dev`: makes a certificate of its own; leave out `tls.certificate`")
        if self.dev and self.certificates:
            mistakes.add("`tls.dev`: makes a certificate of its own; leave out `tls.certificates`")
        if self.profile == "modern" and self.minimum_version == "1.2":
            mistakes.add('`tls.minimum_version`: "1.2" contradicts `tls.profile` = "modern"')
        if self.client_auth.mode != "off" and not self.is_set_up:
            mistakes.add("`tls.client_auth`: needs `tls.certificate` and `tls.key` beside it")
        _check_password(self, "tls", mistakes)
        for name in ("key_password_file", "key_password_env"):
            if getattr(self, name) is not None and self.key is None:
                mistakes.add(f"`tls.{name}`: needs `tls.key` beside it")
        mistakes.raise_all()

    @property
    def is_set_up(self) -> bool:
        """There is a certificate, or one is to be made."""
        return self.dev or bool(self.certificates) or self.certificate is not None

    def entries(self) -> tuple[Certificate, ...]:
        """All certificates, as one list."""
        if self.certificate is None or self.key is None:
            return self.certificates
        return (
            Certificate(self.certificate, self.key, self.key_password_file, self.key_password_env),
        )


def _check_password(entry: Certificate | TLS, table: str, mistakes: Mistakes) -> None:
    if entry.key_password_file is not None and entry.key_password_env is not None:
        mistakes.add(
            f"`{table}.key_password_file`: contradicts `{table}.key_password_env`; "
            "write one of them"
        )
