"""The TLS contexts that a configuration names, and which of them a ClientHello gets.

There is one context for each set of certificates and policy for clients. Sessions are resumed with
tickets that only their own context can read, so none opens the door to another policy's hosts.

A context is made anew from its files and never changed afterwards: ``load_cert_chain`` on a
context in use would leave it unusable where the new key does not fit. Whoever renews certificates
makes new contexts first and then exchanges the reference; handshakes in progress keep theirs.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass

from hyperserver.config.schema_tls import TLS, ClientAuth
from hyperserver.errors import ConfigError, Mistakes
from hyperserver.protocol.client_hello import Alert, ClientHello, HandshakeRefused
from hyperserver.protocol.tls import describe
from hyperserver.runtime.certificates import Authority, Loaded, read_all

#: The TLS 1.2 cipher suites that HTTP/2 allows (RFC 9113 §9.2.2) and that are not out of date:
#: ECDHE with an AEAD, as in Mozilla's "intermediate". The suites of TLS 1.3 need no choice.
CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)
_MODES = {"off": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


@dataclass(frozen=True, slots=True)
class Host:
    """What a server name gets: several ``certificates`` differ in the type of their keys."""

    context: ssl.SSLContext
    policy: ClientAuth
    certificates: tuple[Loaded, ...]


class Selection:
    """Which host a client gets, by the names in the certificates: exact ones, then wildcards.

    ``everyone`` are the certificates with the policies for their clients. A name that several
    have gets the first of each type of key. ``old`` lends its contexts where nothing
    has changed, so that their tickets stay good. Raises ConfigError with all mistakes.
    """

    def __init__(
        self,
        everyone: Sequence[tuple[Loaded, Authority]],
        tls: TLS,
        alpn: Sequence[str],
        old: Selection | None = None,
    ) -> None:
        self._tls = tls
        self._alpn = list(alpn)
        self._protocols = frozenset(protocol.encode() for protocol in alpn)
        self.contexts: dict[tuple[object, ...], ssl.SSLContext] = {}
        self._old = {} if old is None else old.contexts
        self._hosts: dict[str, Host] = {}
        mistakes = Mistakes()
        for name, (sharing, authority) in _by_name(everyone, mistakes).items():
            with mistakes:
                self._hosts[name] = self._host(sharing, authority)
        served = {loaded for host in self._hosts.values() for loaded in host.certificates}
        for loaded, authority in everyone:
            if loaded not in served:  # no name leads to it, but it must be in order
                with mistakes:
                    self._host([loaded], authority)
        mistakes.raise_all()
        first, authority = everyone[0]
        names = first.leaf.names
        self.default = self._hosts[names[0]] if names else self._host([first], authority)
        self._old = {}

    def _host(self, certificates: Sequence[Loaded], authority: Authority) -> Host:
        policy = authority.policy
        key = (policy, authority.digest, *(loaded.digest for loaded in certificates))
        context = self.contexts.get(key) or self._old.get(key)
        if context is None:
            context = make_context(certificates, self._alpn, self._tls, authority)
        self.contexts[key] = context
        return Host(context, policy, tuple(certificates))

    def find(self, name: str | None) -> Host | None:
        """The host of this name in lower case; None if no certificate has it."""
        if name is None:
            return None
        return self._hosts.get(name) or self._hosts.get("*." + name.partition(".")[2])

    def choose(self, hello: ClientHello) -> Host:
        """For a connection that begins with ``hello``. Raises HandshakeRefused."""
        host = self.find(hello.server_name)
        if host is None and self._tls.sni_strict:
            named = "no name" if hello.server_name is None else repr(hello.server_name)
            raise HandshakeRefused(f"no host of ours: {named}", Alert.UNRECOGNIZED_NAME)
        # OpenSSL by way of Python would go on without ALPN (RFC 7301 §3.2 demands the alert).
        if hello.alpn and self._protocols.isdisjoint(hello.alpn):
            offered = ", ".join(protocol.decode("latin-1") for protocol in hello.alpn)
            raise HandshakeRefused(
                f"no application protocol in common, the client offers {offered!r}",
                Alert.NO_APPLICATION_PROTOCOL,
            )
        return host or self.default

    def policy_for(self, name: str) -> ClientAuth:
        """What clients of the host ``name`` must show."""
        return (self.find(name) or self.default).policy


def load_all(tls: TLS) -> list[tuple[Loaded, Authority]]:
    """Every certificate that ``tls`` names. Raises ConfigError with all that is wrong, also with
    those that can be read, which contexts would find out only after that.
    """
    mistakes = Mistakes()
    everyone = read_all(tls, mistakes)
    if mistakes and everyone:
        with mistakes:
            Selection(everyone, tls, ())
    mistakes.raise_all()
    return everyone


def _by_name(
    everyone: Sequence[tuple[Loaded, Authority]], mistakes: Mistakes
) -> dict[str, tuple[list[Loaded], Authority]]:
    """For each name the certificates that have it, the first of each type of key."""
    found: dict[str, tuple[list[Loaded], Authority]] = {}
    for loaded, authority in everyone:
        for name in dict.fromkeys(loaded.leaf.names):
            sharing, theirs = found.setdefault(name, ([], authority))
            if theirs.policy != authority.policy:
                mistakes.add(
                    f"`{loaded.place}`: {name} is in `{sharing[0].place}`, too, with another "
                    "`client_auth`"
                )
                break
            if all(loaded.leaf.key_type != other.leaf.key_type for other in sharing):
                sharing.append(loaded)
    return found


def make_context(
    certificates: Sequence[Loaded],
    alpn: Sequence[str],
    tls: TLS,
    authority: Authority | None = None,
) -> ssl.SSLContext:
    """A server's context with these certificates, which have keys of different types.

    Raises ConfigError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    modern = tls.profile == "modern" or tls.minimum_version == "1.3"
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if modern else ssl.TLSVersion.TLSv1_2
    # added to what Python has set already, which hardens the context as well
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols(list(alpn))
    for loaded in certificates:
        if len(certificates) > 1:  # or a key would be held against the other's certificate
            _load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), loaded)
        _load(context, loaded)
    if authority is not None and authority.policy.mode != "off":
        _demand_certificates(context, authority)
    return context


def _demand_certificates(context: ssl.SSLContext, authority: Authority) -> None:
    policy = authority.policy
    setting = f"{authority.place}.client_auth"
    context.verify_mode = _MODES[policy.mode]
    # Whom the operator names is trusted, be it an intermediate authority without its root.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(policy.ca)
    except ssl.SSLError as error:
        raise ConfigError(
            f"`{setting}.ca`: {policy.ca} cannot be used: {describe(error)}"
        ) from None
    if policy.crl is None:
        return
    try:
        context.load_verify_locations(policy.crl)
    except ssl.SSLError as error:
        raise ConfigError(
            f"`{setting}.crl`: {policy.crl} cannot be used: {describe(error)}"
        ) from None
    context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF


def _load(context: ssl.SSLContext, loaded: Loaded) -> None:
    password = _Password(loaded)
    try:
        context.load_cert_chain(loaded.certificate, loaded.key, password)
    except ssl.SSLError as error:
        raise ConfigError(_explain(error, loaded, password)) from None
    except OSError as error:
        raise ConfigError(f"`{loaded.place}.key`: cannot be read: {error.strerror}") from None
    except ValueError:
        raise ConfigError(
            f"`{loaded.place}.key`: the password of {loaded.key} is too long"
        ) from None


class _Password:
    """Answers OpenSSL's question for a password, which would otherwise go to the terminal."""

    def __init__(self, loaded: Loaded) -> None:
        self.asked = False
        self._loaded = loaded

    def __call__(self) -> str:
        self.asked = True
        loaded = self._loaded
        if loaded.password is None:
            raise ConfigError(
                f"`{loaded.place}.key`: {loaded.key} is encrypted; name its password with "
                "`key_password_file` or `key_password_env`"
            )
        return loaded.password


def _explain(error: ssl.SSLError, loaded: Loaded, password: _Password) -> str:
    """One line for what OpenSSL calls ``[SSL] PEM lib``."""
    certificate, key, place = loaded.certificate, loaded.key, loaded.place
    if error.reason in {"KEY_VALUES_MISMATCH", "NO_CERTIFICATE_ASSIGNED"}:  # or one of another type
        return f"`{place}.key`: {key} is not the key of the certificate in {certificate}"
    if error.reason is not None:
        return f"`{place}.certificate`: {certificate} cannot be used: {describe(error)}"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(certificate)
    except ssl.SSLError:
        return f"`{place}.certificate`: {certificate} holds a damaged certificate"
    if password.asked:
        return f"`{place}.key`: {key} cannot be decrypted with the password given for it"
    return f"`{place}.key`: {key} holds a damaged private key"
