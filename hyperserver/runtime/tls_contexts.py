"""The TLS contexts that a configuration names, and which of them a ClientHello gets.

A context is made anew from its files and never changed afterwards: ``load_cert_chain`` on a
context in use would leave it unusable where the new key does not fit. Whoever renews certificates
makes new contexts first and then exchanges the reference; handshakes in progress keep theirs.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence

from hyperserver.config.schema import TLS
from hyperserver.errors import ConfigError
from hyperserver.protocol.client_hello import Alert, ClientHello, HandshakeRefused
from hyperserver.protocol.tls import describe

#: The TLS 1.2 cipher suites that HTTP/2 allows (RFC 9113 §9.2.2) and that are not out of date:
#: ECDHE with an AEAD. The suites of TLS 1.3 are all of that kind and need no choice.
CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)


class TLSContexts:
    """The contexts for ``tls``, whose connections may speak ``alpn``, the preferred one first.

    Raises ConfigError where a file cannot be used.
    """

    def __init__(self, tls: TLS, alpn: Sequence[str]) -> None:
        assert tls.certificate is not None
        assert tls.key is not None
        self._alpn = frozenset(protocol.encode() for protocol in alpn)
        self._context = make_context(tls.certificate, tls.key, alpn)

    def choose(self, hello: ClientHello) -> ssl.SSLContext:
        """The context for a connection that begins with ``hello``. Raises HandshakeRefused."""
        # OpenSSL by way of Python would go on without ALPN (RFC 7301 §3.2 demands the alert).
        if hello.alpn and self._alpn.isdisjoint(hello.alpn):
            offered = ", ".join(protocol.decode("latin-1") for protocol in hello.alpn)
            raise HandshakeRefused(
                f"no application protocol in common, the client offers {offered!r}",
                Alert.NO_APPLICATION_PROTOCOL,
            )
        return self._context


def make_context(
    certificate: str, key: str, alpn: Sequence[str], key_password: str | None = None
) -> ssl.SSLContext:
    """A server's context with the certificate chain and the private key in two PEM files.

    They may be one file. Raises ConfigError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # added to what Python has set already, which hardens the context as well
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols(list(alpn))
    _require(certificate, "certificate", b"-----BEGIN CERTIFICATE-----", "certificate")
    _require(key, "key", b"PRIVATE KEY-----", "private key")
    password = _Password(key, key_password)
    try:
        context.load_cert_chain(certificate, key, password)
    except ssl.SSLError as error:
        raise ConfigError(_explain(error, certificate, key, password)) from None
    return context


def _require(path: str, setting: str, mark: bytes, what: str) -> None:
    """Refuse a file that cannot be read or is of another kind, by its name."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise ConfigError(f"`tls.{setting}`: cannot read {path}: {error.strerror}") from None
    except ValueError:  # a NUL
        raise ConfigError(f"`tls.{setting}`: {path!r} is not a path") from None
    if mark not in content:
        raise ConfigError(f"`tls.{setting}`: {path} holds no {what} in PEM form")


class _Password:
    """Answers OpenSSL's question for a password, which would otherwise go to the terminal."""

    def __init__(self, path: str, password: str | None) -> None:
        self.asked = False
        self._path = path
        self._password = password

    def __call__(self) -> str:
        self.asked = True
        if self._password is None:
            raise ConfigError(
                f"`tls.key`: {self._path} is encrypted; write it without a password with "
                f"`openssl pkey -in {self._path} -out …`"
            )
        return self._password


def _explain(error: ssl.SSLError, certificate: str, key: str, password: _Password) -> str:
    """One line for what OpenSSL calls ``[SSL] PEM lib``."""
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"`tls.key`: {key} is not the key of the certificate in {certificate}"
    if error.reason is not None:
        return f"`tls.certificate`: {certificate} cannot be used: {describe(error)}"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(certificate)
    except ssl.SSLError:
        return f"`tls.certificate`: {certificate} holds a damaged certificate"
    if password.asked:
        return f"`tls.key`: {key} cannot be decrypted with the password given for it"
    return f"`tls.key`: {key} holds a damaged private key"
