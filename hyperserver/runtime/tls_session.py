"""What one TLS connection knows of itself: its host, its policy, and what scopes say of it."""

from __future__ import annotations

import ssl
import sys
from typing import TYPE_CHECKING, Any

from hyperserver.observe.logs import logger
from hyperserver.protocol.answers import MISDIRECTED, Answer
from hyperserver.protocol.hosts import host_of
from hyperserver.protocol.x509 import parse_certificate, pem_encode, rfc4514

if TYPE_CHECKING:
    from hyperserver.asgi.scope import Address
    from hyperserver.protocol.client_hello import ClientHello
    from hyperserver.protocol.events import RequestReceived
    from hyperserver.protocol.tls import TLSConnection
    from hyperserver.runtime.certificates import Loaded
    from hyperserver.runtime.site import Site
    from hyperserver.runtime.tls_contexts import Host
    from hyperserver.runtime.tls_reload import TLSContexts

#: By what ``ssl`` calls them (RFC 8446 §4.2.1).
_VERSIONS = {"TLSv1.2": 0x0303, "TLSv1.3": 0x0304}
#: Types of keys in the order in which OpenSSL tries them, with the signatures that each can make
#: in TLS 1.3 (RFC 8446 §4.2.3).
_SCHEMES: dict[tuple[str, str | None], frozenset[int]] = {
    ("EC", "P-256"): frozenset((0x0403,)),
    ("EC", "P-384"): frozenset((0x0503,)),
    ("EC", "P-521"): frozenset((0x0603,)),
    ("Ed25519", None): frozenset((0x0807,)),
    ("Ed448", None): frozenset((0x0808,)),
    ("RSA-PSS", None): frozenset((0x0809, 0x080A, 0x080B)),
    ("RSA", None): frozenset((0x0804, 0x0805, 0x0806)),
}

#: Codes of cipher suites by OpenSSL's names: ``ssl`` tells those of a context, not a connection's.
_suites: dict[str, int] = {}


class TLSSession:
    """The host that a ClientHello has chosen of ``contexts``, and what follows from it.

    ``wire`` is set once there is one. ``several_policies``: hosts differ in what clients must show,
    so that a request may have come on a connection that was opened for another host (RFC 9110
    §15.5.20); ``site`` answers what is the listener's own.
    """

    __slots__ = (
        "_contexts",
        "_host",
        "_schemes",
        "_several",
        "_site",
        "wire",
    )

    def __init__(self, contexts: TLSContexts, several_policies: bool, site: Site | None) -> None:
        self.wire: TLSConnection | None = None
        self._contexts = contexts
        self._several = several_policies
        self._site = site
        self._host: Host | None = None
        self._schemes: list[int] = []

    def choose(self, hello: ClientHello) -> ssl.SSLContext:
        """For the handshake. Raises HandshakeRefused."""
        host = self._host = self._contexts.current.choose(hello)
        self._schemes = hello.signature_schemes
        return host.context

    @property
    def answers_anything(self) -> bool:
        return self._several or self._site is not None

    def answer(self, request: RequestReceived) -> Answer | None:
        """421 for a host whose clients must show what this one need not have shown."""
        if self._several and request.authority:
            assert self._host is not None
            wanted = self._contexts.current.policy_for(host_of(request.authority))
            if wanted != self._host.policy:
                return MISDIRECTED
        return None if self._site is None else self._site.answer(request)

    def ended(self, client: Address | None) -> None:
        """For the log: only the connection's own peer is concerned by what went wrong."""
        wire = self.wire
        assert wire is not None
        if wire.failure is not None:
            logger.debug("TLS with %s ended: %s", client, wire.failure)
        elif wire.truncated:
            logger.debug("TLS with %s was cut off without a close_notify", client)

    # ---- the ASGI extension --------------------------------------------------------------

    def extension(self) -> dict[str, Any]:
        """The value of the ``tls`` extension (ASGI TLS 0.2), once the handshake is done."""
        assert self.wire is not None
        tls = self.wire.ssl_object
        assert tls is not None
        cipher = tls.cipher()
        chain = _client_chain(tls)
        return {
            "server_cert": self._sent(cipher[0] if cipher else "").pem,
            "client_cert_chain": [pem_encode(der) for der in chain],
            "client_cert_name": _subject(chain[0]) if chain else None,
            # A certificate that does not verify ends the handshake.
            "client_cert_error": None,
            "tls_version": _VERSIONS.get(tls.version() or ""),
            "cipher_suite": _suite(tls.context, cipher[0]) if cipher else None,
        }

    def _sent(self, cipher: str) -> Loaded:
        """Which certificate OpenSSL has sent: it does not say, but its rules are known."""
        assert self._host is not None
        certificates = self._host.certificates
        if len(certificates) == 1:
            return certificates[0]
        by_kind = {(c.leaf.key_type, c.leaf.curve): c for c in certificates}
        possible = [kind for kind in _SCHEMES if kind in by_kind]
        if cipher.startswith("ECDHE-"):  # TLS 1.2, where the suite names the type of the key
            rsa = cipher.startswith("ECDHE-RSA-")
            possible = [kind for kind in possible if kind[0].startswith("RSA") is rsa]
        for kind in possible:
            if not _SCHEMES[kind].isdisjoint(self._schemes):
                return by_kind[kind]
        return by_kind[possible[0]] if possible else certificates[0]


def _client_chain(tls: ssl.SSLObject) -> list[bytes]:
    """The client's certificates, in DER, its own first; before Python 3.13 no more than that."""
    leaf = tls.getpeercert(binary_form=True)
    if leaf is None:
        return []  # asking for the chain of nobody is an error in some versions
    if sys.version_info >= (3, 13) and (chain := tls.get_unverified_chain()):
        return list(chain)
    return [leaf]  # also of a session that was resumed: it has kept no more


def _subject(der: bytes) -> str:
    """OpenSSL has verified it, so it can be read; an exotic one has a name in any case."""
    try:
        return rfc4514(parse_certificate(der).subject)
    except ValueError:
        return ""


def _suite(context: ssl.SSLContext, name: str) -> int | None:
    """A cipher suite's two bytes (RFC 8446 §B.4)."""
    if name not in _suites:
        _suites.update({cipher["name"]: cipher["id"] & 0xFFFF for cipher in context.get_ciphers()})
    return _suites.get(name)
