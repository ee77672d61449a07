"""TLS as a byte layer: how a handshake goes, or does not. The rest is in test_tls_bytes.py."""

from __future__ import annotations

import ssl
from collections.abc import Callable

import pytest

from hyperserver.errors import LocalProtocolError
from hyperserver.protocol.client_hello import Alert, ClientHello, HandshakeRefused
from hyperserver.protocol.interface import ByteConnection
from tests.conftest import Certificate, MakeClientContext, server_context
from tests.engines.playbook import FEEDS, Feed
from tests.protocol.conftest import Connect
from tests.protocol.tls_client import Client, Server

VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
EVERY_VERSION = pytest.mark.parametrize("version", VERSIONS.values(), ids=VERSIONS)
EVERY_FEED = pytest.mark.parametrize("feed", FEEDS.values(), ids=FEEDS)


def test_it_is_an_engine_for_bytes(server: Server) -> None:
    connection: ByteConnection = server.accept()
    assert connection.http_version == "1.1"
    assert connection.wants_data
    assert not connection.output
    assert not connection.holds_output
    assert not connection.output_finished
    assert not connection.is_closed
    assert not connection.aborted
    assert connection.events() == connection.event_queue == []
    assert connection.data_to_send() == b""


# ---- a handshake -------------------------------------------------------------------------------


@EVERY_VERSION
@EVERY_FEED
def test_a_handshake_ends_with_an_engine(
    server: Server, connect: Connect, version: ssl.TLSVersion, feed: Feed
) -> None:
    client = connect("http/1.1", "h2", version=version, feed=feed)
    assert server.hellos == [ClientHello("localhost", [b"http/1.1", b"h2"])]
    assert server.opened == [("h2", 100.0)]  # what the server prefers
    connection = client.connection
    assert connection.failure is None
    assert connection.ssl_object is not None
    assert connection.ssl_object.version() == client.tls.version()
    assert connection.event_queue == []
    assert not connection.output
    assert not connection.output_finished
    assert not connection.is_closed
    assert not connection.truncated


def test_without_alpn_the_engine_is_told_so(server: Server, connect: Connect) -> None:
    connect()
    assert server.opened == [(None, 100.0)]


def test_the_last_bytes_of_a_handshake_may_bring_a_request(
    server: Server, make_client_context: MakeClientContext
) -> None:
    client = Client(server.accept(), make_client_context(version=ssl.TLSVersion.TLSv1_3))
    assert not client.attempt(client.tls.do_handshake)
    client.connection.receive_data(client.outgoing.read(), 100.0)
    client.incoming.write(client.take())
    assert client.attempt(client.tls.do_handshake)
    client.tls.write(b"at once")
    client.connection.receive_data(client.outgoing.read(), 100.0)
    assert server.engine.received == [b"at once"]


def test_session_tickets_are_sent_and_taken_back(
    server: Server, make_client_context: MakeClientContext
) -> None:
    context = make_client_context()
    first = Client(server.accept(), context).shake_hands()
    assert first.tls.session is not None
    assert first.tls.session.has_ticket
    second = Client(server.accept(), context, session=first.tls.session).shake_hands()
    assert second.tls.session_reused
    assert len(server.hellos) == 2


def test_the_server_name_chooses_the_certificate(
    issue: Callable[..., Certificate], server: Server, make_client_context: MakeClientContext
) -> None:
    contexts = {}
    for name in ("a.test", "b.test"):
        contexts[name] = server_context(issue(name), "h2")
    for name in ("a.test", "b.test", "A.test"):
        server.context = contexts[name.lower()]
        client = Client(server.accept(), make_client_context(), name=name).shake_hands()
        assert client.error is None  # else the client would find the wrong name
        assert server.hellos[-1].server_name == name.lower()


@EVERY_VERSION
def test_the_chosen_context_decides_who_needs_a_certificate(
    authority: object,
    issue: Callable[..., Certificate],
    certificate: Certificate,
    server: Server,
    make_client_context: MakeClientContext,
    version: ssl.TLSVersion,
) -> None:
    """Also for a session that was begun where none was needed."""
    relaxed = server.context
    strict = server_context(certificate, "h2")
    strict.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(strict)  # type: ignore[attr-defined]
    context = make_client_context(version=version)
    first = Client(server.accept(), context).shake_hands()
    assert first.error is None

    server.context = strict
    second = Client(server.accept(), context, session=first.tls.session).shake_hands()
    assert second.error is not None
    assert second.connection.failure is not None
    assert "certificate" in second.connection.failure
    assert not second.tls.session_reused
    assert len(server.opened) == 1

    known = issue("someone.test")
    context.load_cert_chain(known.chain, known.key)
    assert Client(server.accept(), context).shake_hands().error is None
    server.context = relaxed
    assert Client(server.accept(), context).shake_hands().error is None


# ---- time and early ends -----------------------------------------------------------------------


def test_the_handshake_timeout_counts_from_the_beginning(
    server: Server, make_client_context: MakeClientContext
) -> None:
    client = Client(server.accept(), make_client_context())
    connection = client.connection
    assert not client.attempt(client.tls.do_handshake)
    for at, byte in enumerate(client.outgoing.read()):
        assert connection.next_timeout() == 110.0
        connection.receive_data(bytes([byte]), 100.0 + at / 100)
    assert connection.output
    client.take()
    assert connection.next_timeout() == 110.0
    connection.handle_timeout(109.9)
    assert not connection.is_closed
    connection.handle_timeout(110.0)
    assert connection.is_closed
    assert connection.output_finished
    assert connection.failure == "handshake not finished in time"
    assert connection.next_timeout() is None
    connection.handle_timeout(200.0)


def test_one_that_says_nothing_is_closed(server: Server) -> None:
    connection = server.accept()
    connection.handle_timeout(110.0)
    assert connection.is_closed
    assert not connection.output


def test_after_the_handshake_deadlines_are_the_engines(server: Server, connect: Connect) -> None:
    connection = connect().connection
    assert connection.next_timeout() is None
    server.engine.deadline = 123.0
    assert connection.next_timeout() == 123.0
    connection.handle_timeout(111.0)
    assert server.engine.told == [111.0]


@pytest.mark.parametrize("end", [0, 1, 100, 10_000])
def test_a_client_that_leaves_during_the_handshake(
    server: Server, make_client_context: MakeClientContext, end: int
) -> None:
    client = Client(server.accept(), make_client_context())
    assert not client.attempt(client.tls.do_handshake)
    client.connection.receive_data(client.outgoing.read()[:end], 100.0)
    client.connection.receive_eof(101.0)
    assert client.connection.is_closed
    assert client.connection.failure == "the peer closed the connection during the handshake"
    client.connection.receive_eof(102.0)


def test_draining_ends_what_has_not_begun(
    server: Server, make_client_context: MakeClientContext
) -> None:
    connection = server.accept()
    connection.shutdown()
    assert connection.is_closed
    assert connection.failure is None
    client = Client(server.accept(), make_client_context())
    assert not client.attempt(client.tls.do_handshake)
    client.connection.receive_data(client.outgoing.read(), 100.0)
    client.connection.shutdown()
    assert client.connection.is_closed
    client.connection.receive_data(b"ignored", 100.0)


def test_draining_with_grace_lets_a_handshake_go_on(
    server: Server, make_client_context: MakeClientContext
) -> None:
    client = Client(server.accept(), make_client_context())
    assert not client.attempt(client.tls.do_handshake)
    client.connection.shutdown(2.0)
    assert client.connection.next_timeout() == 0.0
    client.connection.handle_timeout(100.0)
    assert client.connection.next_timeout() == 102.0
    client.shake_hands()
    assert client.connection.engine is not None


def test_the_grace_of_a_handshake_ends(server: Server) -> None:
    connection = server.accept()
    connection.shutdown(2.0)
    connection.handle_timeout(100.0)
    connection.handle_timeout(102.0)
    assert connection.is_closed


def test_draining_is_passed_on(server: Server, connect: Connect) -> None:
    connect().connection.shutdown()
    assert server.engine.shut_down


def test_a_command_before_there_is_an_engine_is_misuse(server: Server) -> None:
    connection = server.accept()
    commands: list[Callable[[], object]] = [
        lambda: connection.send_informational(1, 103, []),
        lambda: connection.send_headers(1, 200, [], True),
        lambda: connection.send_response(1, 200, [], b""),
        lambda: connection.send_data(1, b"", end_stream=True),
        lambda: connection.send_trailers(1, []),
        lambda: connection.accept_tunnel(1, []),
        lambda: connection.push_stream(1, b"/", []),
        lambda: connection.acknowledge(1, 1),
        lambda: connection.reset_stream(1, ""),
    ]
    for command in commands:
        with pytest.raises(LocalProtocolError):
            command()
    connection.release(1)
    assert connection.buffered(1) == 0


# ---- handshakes that fail ----------------------------------------------------------------------


def assert_lingers(client: Client) -> None:
    """It waits for the client to close, no longer than the linger timeout, and says no more."""
    connection = client.connection
    assert client.events == []
    assert connection.engine is None
    assert connection.output_finished
    assert not connection.is_closed
    assert not connection.aborted
    assert connection.wants_data
    connection.receive_data(b"\x16\x03\x01" + bytes(100), 100.0)
    connection.shutdown()
    assert not connection.output
    assert connection.next_timeout() == 105.0
    connection.handle_timeout(104.9)
    assert not connection.is_closed
    connection.handle_timeout(105.0)
    assert connection.is_closed


@EVERY_FEED
def test_no_cipher_in_common(
    server: Server, make_client_context: MakeClientContext, feed: Feed
) -> None:
    context = make_client_context(version=ssl.TLSVersion.TLSv1_2)
    context.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")  # the certificate's key is not RSA
    client = Client(server.accept(), context, feed=feed).shake_hands()
    assert client.error is not None
    assert client.error.reason == "SSLV3_ALERT_HANDSHAKE_FAILURE"
    assert client.connection.failure == "no shared cipher"
    assert_lingers(client)


def test_an_old_version(server: Server, make_client_context: MakeClientContext) -> None:
    server.context.minimum_version = ssl.TLSVersion.TLSv1_3
    context = make_client_context(version=ssl.TLSVersion.TLSv1_2)
    client = Client(server.accept(), context).shake_hands()
    assert client.error is not None
    assert client.error.reason == "TLSV1_ALERT_PROTOCOL_VERSION"
    assert client.connection.failure == "unsupported protocol"
    assert_lingers(client)


@EVERY_VERSION
def test_a_client_that_does_not_trust_the_certificate(
    server: Server, make_client_context: MakeClientContext, version: ssl.TLSVersion
) -> None:
    context = make_client_context(version=version)
    client = Client(server.accept(), context, name="other.test").shake_hands()
    assert isinstance(client.error, ssl.SSLCertVerificationError)
    assert client.connection.failure is not None
    assert "alert" in client.connection.failure
    assert_lingers(client)


def test_a_client_certificate_that_nobody_vouches_for(
    authority: object,
    certificate: Certificate,
    server: Server,
    make_client_context: MakeClientContext,
) -> None:
    import trustme

    server.context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(server.context)  # type: ignore[attr-defined]
    context = make_client_context()
    trustme.CA().issue_cert("stranger.test").configure_cert(context)
    client = Client(server.accept(), context).shake_hands()
    assert client.connection.failure is not None
    assert client.connection.failure.startswith("certificate verify failed: ")
    assert_lingers(client)


@EVERY_FEED
@pytest.mark.parametrize(
    ("alert", "name"),
    [
        (Alert.NO_APPLICATION_PROTOCOL, "alert no application protocol"),
        (Alert.UNRECOGNIZED_NAME, "unrecognized name"),
        (Alert.INTERNAL_ERROR, "alert internal error"),
    ],
)
def test_whoever_chooses_the_context_may_refuse(
    server: Server, make_client_context: MakeClientContext, feed: Feed, alert: Alert, name: str
) -> None:
    def refuse(hello: ClientHello) -> ssl.SSLContext:
        raise HandshakeRefused("not here", alert)

    server.choose = refuse  # type: ignore[method-assign]
    client = Client(server.accept(), make_client_context(), feed=feed).shake_hands()
    assert name in str(client.error)
    assert client.connection.failure == "not here"
    assert_lingers(client)


def test_a_context_that_cannot_be_had(
    server: Server, make_client_context: MakeClientContext
) -> None:
    def fail(hello: ClientHello) -> ssl.SSLContext:
        raise ssl.SSLError(1, "broken")

    server.choose = fail  # type: ignore[method-assign]
    client = Client(server.accept(), make_client_context()).shake_hands()
    assert client.error is not None
    assert client.error.reason == "TLSV1_ALERT_INTERNAL_ERROR"
    assert client.connection.failure is not None
    assert "broken" in client.connection.failure
    assert_lingers(client)


def test_a_bug_of_ours_is_not_taken_for_the_peers_fault(
    server: Server, make_client_context: MakeClientContext
) -> None:
    def fail(hello: ClientHello) -> ssl.SSLContext:
        raise KeyError(hello.server_name)

    server.choose = fail  # type: ignore[method-assign]
    with pytest.raises(KeyError):
        Client(server.accept(), make_client_context()).shake_hands()


@EVERY_FEED
@pytest.mark.parametrize(
    "data", [b"\x16\x03\x01\xff\xff", b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00"]
)
def test_what_begins_like_tls_and_is_no_client_hello(
    server: Server, feed: Feed, data: bytes
) -> None:
    connection = server.accept()
    for piece in feed(data):
        connection.receive_data(piece, 100.0)
    alert = connection.data_to_send()
    assert alert[:6] == b"\x15\x03\x03\x00\x02\x02"
    assert connection.failure
    assert connection.output_finished
    assert not connection.is_closed
    connection.receive_eof(100.0)
    assert connection.is_closed


def test_a_handshake_that_goes_wrong_halfway(
    server: Server, make_client_context: MakeClientContext
) -> None:
    client = Client(server.accept(), make_client_context())
    assert not client.attempt(client.tls.do_handshake)
    client.connection.receive_data(client.outgoing.read(), 100.0)
    client.take()
    client.connection.receive_data(b"\x16\x03\x03\x00\x04what", 100.0)
    assert client.take()
    assert client.connection.failure
    assert_lingers(client)


# ---- what is no TLS ----------------------------------------------------------------------------


@EVERY_FEED
@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST", b"PRI", b"PROPPATCH"])
def test_plain_http_is_told_what_is_spoken_here(server: Server, feed: Feed, method: bytes) -> None:
    connection = server.accept()
    for piece in feed(method + b" / HTTP/1.1\r\nHost: localhost\r\n\r\n"):
        connection.receive_data(piece, 100.0)
    answer = connection.data_to_send()
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 400 Bad Request"
    assert b"connection: close" in lines
    if method == b"HEAD":
        assert body == b""
    else:
        assert body == b"400 Bad Request: this port speaks HTTPS; write https:// in the address\n"
        assert b"content-length: %d" % len(body) in lines
    assert connection.failure == "plain HTTP"
    assert connection.output_finished
    assert not connection.is_closed  # so that the answer arrives
    assert connection.next_timeout() == 105.0


@EVERY_FEED
@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"GET\r\n",
        b"get / HTTP/1.1\r\n\r\n",
        b"A" * 17,
        b"EHLO\tmail.test\r\n",
        b"\x00\x00\x00\x2f\xffSMB",
        b"\x16\x05\x00",
        b"\x80\x2e\x01\x03\x01",
        b" GET / HTTP/1.1\r\n",
    ],
)
def test_anything_else_is_closed_without_a_word(server: Server, feed: Feed, data: bytes) -> None:
    connection = server.accept()
    for piece in feed(data):
        connection.receive_data(piece, 100.0)
    assert connection.is_closed
    assert connection.output_finished
    assert not connection.output
    assert connection.failure == "neither TLS nor HTTP"
    assert connection.next_timeout() is None


def test_what_may_become_a_method_has_until_the_handshake_timeout(server: Server) -> None:
    connection = server.accept()
    connection.receive_data(b"GE", 100.0)
    assert not connection.is_closed
    assert connection.next_timeout() == 110.0
    connection.handle_timeout(110.0)
    assert connection.is_closed
    assert not connection.output
