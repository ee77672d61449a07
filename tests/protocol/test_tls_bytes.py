"""TLS as a byte layer: bytes through it, its two ends, faults within it. See also test_tls.py."""

from __future__ import annotations

import random
import ssl
import tracemalloc
from collections.abc import Callable, Iterable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hyperserver.protocol.events import InputClosed, RequestReceived, StreamClosed
from hyperserver.protocol.interface import (
    HIGH_WATER,
    ByteConnection,
    Limits,
    ResponseDefaults,
)
from hyperserver.protocol.negotiate import open_http1
from hyperserver.protocol.tls import TLSConnection
from tests.conftest import MakeClientContext
from tests.engines.playbook import FEEDS, OK, OK_CLOSE, Feed, engines_of, get, sized_post
from tests.protocol.conftest import Connect
from tests.protocol.test_tls import EVERY_FEED, EVERY_VERSION
from tests.protocol.tls_client import Client, Engine, Server

RECORD = 16_384


def letters(n: int) -> bytes:
    return random.Random(n).randbytes(n)


# ---- bytes in ----------------------------------------------------------------------------------


@EVERY_VERSION
@EVERY_FEED
@pytest.mark.parametrize("size", [1, 100, RECORD, RECORD + 1, 40_000])
def test_what_a_client_sends_arrives(
    server: Server, connect: Connect, version: ssl.TLSVersion, feed: Feed, size: int
) -> None:
    client = connect(version=version, feed=feed)
    client.send(letters(size))
    client.send(b"more")
    assert b"".join(server.engine.received) == letters(size) + b"more"
    assert b"" not in server.engine.received
    assert not client.connection.output


class Reads:
    """Counts how often OpenSSL was asked for data, and how often in vain."""

    def __init__(self, connection: TLSConnection) -> None:
        self.asked = self.in_vain = 0
        self._read = connection._read
        connection._read = self

    def __call__(self, n: int) -> bytes:
        self.asked += 1
        try:
            return self._read(n)
        except ssl.SSLWantReadError:
            self.in_vain += 1
            raise


@EVERY_VERSION
def test_one_record_is_one_read_and_one_call(
    server: Server, connect: Connect, version: ssl.TLSVersion
) -> None:
    client = connect(version=version)
    reads = Reads(client.connection)
    for n in (1, 2, 3):
        client.send(b"request")
        assert server.engine.received == [b"request"] * n
        assert (reads.asked, reads.in_vain) == (n, 0)


def test_many_records_are_one_call(server: Server, connect: Connect) -> None:
    client = connect()
    reads = Reads(client.connection)
    client.send(letters(3 * RECORD))
    assert server.engine.received == [letters(3 * RECORD)]
    assert (reads.asked, reads.in_vain) == (3, 0)
    client.tls.write(letters(RECORD))
    client.tls.write(b"rest")
    data = client.outgoing.read()
    client.connection.receive_data(data[:-1], 100.0)
    assert server.engine.received[1:] == [letters(RECORD)]
    assert reads.in_vain == 1  # to learn that a record is incomplete takes an attempt
    client.connection.receive_data(data[-1:], 100.0)
    assert server.engine.received[2:] == [b"rest"]


def test_a_large_read_is_passed_on_in_pieces(server: Server, connect: Connect) -> None:
    client = connect()
    client.send(letters(200_000))
    assert b"".join(server.engine.received) == letters(200_000)
    assert 65_000 > len(server.engine.received[0]) > 48_000
    assert len(server.engine.received) == 4


def test_all_that_has_come_is_decrypted_although_the_engine_has_enough(
    server: Server, connect: Connect
) -> None:
    client = connect()
    server.engine.wants_data = False
    client.send(letters(3 * RECORD))
    assert b"".join(server.engine.received) == letters(3 * RECORD)
    assert not client.connection.wants_data
    server.engine.wants_data = True
    assert client.connection.wants_data


def test_reading_waits_for_what_tls_has_to_say_by_itself(server: Server, connect: Connect) -> None:
    """A peer may cause such messages and never read them."""
    connection = connect().connection
    connection._outgoing.write(bytes(HIGH_WATER - 1))
    assert connection.wants_data
    connection._outgoing.write(b"\0")
    assert not connection.wants_data
    assert connection.output
    assert len(connection.data_to_send()) == HIGH_WATER
    assert connection.wants_data


# ---- bytes out ---------------------------------------------------------------------------------


@EVERY_VERSION
@pytest.mark.parametrize("size", [1, 100, RECORD + 1, 65_536, 65_537, 1_000_000])
def test_what_the_engine_sends_arrives(
    server: Server, connect: Connect, version: ssl.TLSVersion, size: int
) -> None:
    client = connect(version=version)
    server.engine.output = [letters(size), b"more"]
    client.exchange()
    assert client.received == letters(size) + b"more"
    assert not client.connection.output
    assert not client.connection.output_finished


def test_small_pieces_leave_together(server: Server, connect: Connect) -> None:
    client = connect()
    server.engine.output = [b"head", letters(1000), b"tail"] * 3
    before = len(client.raw)
    client.exchange()
    assert len(client.raw) == before + 1
    assert client.received == (b"head" + letters(1000) + b"tail") * 3


def test_a_large_body_is_encrypted_piece_by_piece(server: Server, connect: Connect) -> None:
    client = connect()
    connection = client.connection
    size = 8_000_000
    body = letters(size)
    server.engine.output = [b"head", body]
    sizes: list[int] = []
    tracemalloc.start()
    try:
        while connection.output:
            data = connection.data_to_send()
            sizes.append(len(data))
            client.incoming.write(data)
            assert client.tls.read(len(data))
            while client.incoming.pending:
                client.tls.read(len(data))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert max(sizes) < 100_000
    assert sum(sizes) < size * 1.003
    assert len(sizes) < size / 60_000
    assert peak < 500_000


def test_the_engine_may_end_while_its_large_body_is_on_its_way(
    server: Server, connect: Connect
) -> None:
    client = connect()
    server.engine.output = [letters(200_000)]
    server.engine.output_finished = True
    assert client.connection.data_to_send()
    assert server.engine.output == []
    assert client.connection.output
    server.engine.deadline = 0.0
    while client.connection.output:
        assert not client.connection.output_finished
        assert client.connection.next_timeout() is None  # it begins to wait for the peer only then
        client.connection.data_to_send()
    assert client.connection.output_finished
    assert client.connection.next_timeout() == 0.0


def test_the_engine_says_what_waits_for_more_than_the_transport(
    server: Server, connect: Connect
) -> None:
    connection = connect().connection
    assert not connection.holds_output
    server.engine.holds_output = True
    assert connection.holds_output


# ---- the two ends ------------------------------------------------------------------------------


@EVERY_VERSION
def test_our_end_follows_the_last_byte(
    server: Server, connect: Connect, version: ssl.TLSVersion
) -> None:
    client = connect(version=version)
    connection = client.connection
    server.engine.output = [b"bye"]
    server.engine.output_finished = True
    assert not connection.output_finished
    before = len(client.raw)
    client.exchange()
    assert client.received == b"bye"
    assert client.ended
    assert len(client.raw) == before + 1  # response and close_notify in one write
    assert connection.output_finished
    assert not connection.output
    assert not connection.is_closed
    client.tls.write(b"unasked")  # the peer may still send
    client.close()
    assert server.engine.received == [b"unasked"]
    assert server.engine.ends == 1
    server.engine.is_closed = True
    assert connection.is_closed
    assert not connection.output


def test_an_engine_that_closes_says_so_in_tls_first(server: Server, connect: Connect) -> None:
    client = connect()
    server.engine.output_finished = server.engine.is_closed = True
    assert not client.connection.is_closed
    assert client.connection.output
    client.exchange()
    assert client.ended
    assert client.connection.is_closed
    assert client.connection.data_to_send() == b""


def test_one_that_aborts_does_not(server: Server, connect: Connect) -> None:
    client = connect()
    connection = client.connection
    server.engine.output = [b"half of i"]
    server.engine.output_finished = server.engine.is_closed = server.engine.aborted = True
    assert connection.aborted
    assert connection.output
    client.exchange()
    assert client.received == b"half of i"
    assert not client.ended
    assert connection.output_finished
    assert connection.is_closed


@EVERY_VERSION
@EVERY_FEED
def test_the_peers_end_leaves_time_for_the_response(
    server: Server, connect: Connect, version: ssl.TLSVersion, feed: Feed
) -> None:
    client = connect(version=version, feed=feed)
    client.tls.write(b"last request")
    client.attempt(client.tls.unwrap)
    client.exchange()
    assert b"".join(server.engine.received) == b"last request"
    assert server.engine.ends == 1
    client.connection.receive_data(b"\x17\x03\x03\x00\x05ignor", 100.0)
    client.connection.receive_eof(100.0)
    assert server.engine.ends == 1
    assert not client.connection.truncated
    assert client.connection.failure is None
    server.engine.output = [b"response"]
    server.engine.output_finished = server.engine.is_closed = True
    client.incoming.write(client.take())
    assert client.connection.is_closed
    assert client.tls.read(100) == b"response"
    with pytest.raises(ssl.SSLZeroReturnError):
        client.tls.read(100)


@pytest.mark.parametrize("behind", [b"", b"\x17\x03\x03\x00\x50", b"\x17\x03"])
def test_an_end_without_close_notify_is_noted(
    server: Server, connect: Connect, behind: bytes
) -> None:
    client = connect()
    client.send(b"request")
    client.connection.receive_data(behind, 100.0)
    client.connection.receive_eof(100.0)
    client.connection.receive_eof(100.0)
    assert server.engine.received == [b"request"]
    assert server.engine.ends == 1
    assert client.connection.truncated
    server.engine.output = [b"response"]
    client.exchange()
    assert client.received == b"response"


def test_what_comes_after_our_end_does_no_harm(server: Server, connect: Connect) -> None:
    client = connect()
    server.engine.output_finished = True
    client.exchange()
    client.connection.receive_data(b"\x17\x03\x03\x00\x20" + bytes(32), 100.0)
    assert client.connection.failure
    assert server.engine.ends == 1
    assert client.connection.output_finished
    assert not client.connection.output
    client.connection.receive_eof(101.0)
    assert client.connection.is_closed


# ---- faults ------------------------------------------------------------------------------------


@EVERY_VERSION
@EVERY_FEED
def test_a_forged_record_ends_the_connection(
    server: Server, connect: Connect, version: ssl.TLSVersion, feed: Feed
) -> None:
    client = connect(version=version, feed=feed)
    connection = client.connection
    server.engine.output = [letters(300_000)]
    client.incoming.write(connection.data_to_send())
    client.tls.write(b"true")
    forged = client.outgoing.read() + b"\x17\x03\x03\x00\x20" + bytes(32)
    for piece in feed(forged):
        connection.receive_data(piece, 100.0)
    assert server.engine.received == [b"true"]
    assert server.engine.ends == 1
    assert connection.failure == "decryption failed or bad record mac"
    client.exchange()
    assert client.error is not None
    assert client.error.reason is not None
    assert "BAD_RECORD_MAC" in client.error.reason
    assert len(client.received) < 100_000
    assert connection.output_finished
    assert not connection.is_closed
    assert connection.next_timeout() == 105.0
    connection.receive_data(b"ignored", 101.0)
    connection.receive_eof(101.0)
    assert connection.is_closed
    assert server.engine.ends == 1


def test_a_forged_record_after_the_peers_end_is_not_looked_at(
    server: Server, connect: Connect
) -> None:
    client = connect()
    client.close()
    client.connection.receive_data(b"\x17\x03\x03\x00\x20" + bytes(32), 100.0)
    assert client.connection.failure is None


def test_encryption_that_fails_is_an_abort(server: Server, connect: Connect) -> None:
    client = connect()
    connection = client.connection

    def fail(data: object) -> int:
        raise ssl.SSLError(1, "out of luck")

    connection._write = fail
    server.engine.output = [letters(300_000)]
    assert connection.data_to_send() == b""
    assert connection.aborted
    assert connection.is_closed
    assert connection.output_finished
    assert not connection.output
    assert connection.failure is not None
    assert "out of luck" in connection.failure


# ---- with an HTTP engine -----------------------------------------------------------------------


class Web(Server):
    """Answers with the real HTTP/1 engine."""

    def open(self, alpn: str | None, now: float) -> ByteConnection:
        self.http = open_http1(engines_of(), Limits(), ResponseDefaults(None), "https", now)
        return self.http


@pytest.fixture
def web(server: Server, make_client_context: MakeClientContext) -> Callable[[Feed], Client]:
    def connect(feed: Feed) -> Client:
        web = Web(server.context)
        client = Client(web.accept(), make_client_context("http/1.1"), feed=feed).shake_hands()
        assert client.engine is web.http
        return client

    return connect


def answer(client: Client, stream_id: int, body: bytes = b"") -> None:
    headers = [(b"content-length", b"%d" % len(body))]
    client.engine.send_response(stream_id, 200, headers, body)
    client.exchange()


@EVERY_FEED
def test_requests_and_responses(web: Callable[[Feed], Client], feed: Feed) -> None:
    client = web(feed)
    for stream_id in (1, 3, 5):
        client.send(get())
        (request,) = client.engine.events()
        assert isinstance(request, RequestReceived)
        assert (request.stream_id, request.scheme) == (stream_id, "https")
        answer(client, stream_id)
    assert client.received == OK * 3
    client.send(get(b"/", b"Connection: close"))
    answer(client, 7)
    assert client.received == OK * 3 + OK_CLOSE
    assert client.ended
    assert client.connection.output_finished
    assert not client.connection.is_closed
    client.close()
    assert client.connection.is_closed


def test_a_large_upload_and_a_large_download(web: Callable[[Feed], Client]) -> None:
    body = letters(500_000)
    client = web(FEEDS["splits-seed-1"])
    client.send(sized_post(body))
    request, *rest = client.engine.events()
    assert isinstance(request, RequestReceived)
    assert b"".join(event.data for event in rest) == body  # type: ignore[union-attr]
    answer(client, 1, body)
    assert client.received.endswith(b"\r\n\r\n" + body)


def test_an_idle_client_is_told_before_it_is_closed(web: Callable[[Feed], Client]) -> None:
    client = web(FEEDS["whole"])
    client.send(get())
    answer(client, 1)
    connection = client.connection
    connection.handle_timeout(100.0)
    assert connection.next_timeout() == 175.0
    connection.handle_timeout(175.0)
    assert not connection.is_closed
    client.exchange()
    assert client.ended
    assert connection.is_closed


def test_a_client_that_closes_after_its_request(web: Callable[[Feed], Client]) -> None:
    client = web(FEEDS["whole"])
    client.tls.write(get())
    client.close()
    assert [type(event) for event in client.engine.events()] == [RequestReceived, InputClosed]
    client.engine.send_response(1, 200, [(b"content-length", b"0")], b"")
    client.incoming.write(client.take())
    assert client.tls.read(1000) == OK_CLOSE
    assert client.connection.is_closed


def test_a_fault_within_a_request_ends_its_stream(web: Callable[[Feed], Client]) -> None:
    client = web(FEEDS["whole"])
    client.send(sized_post(b"12345")[:-1])
    client.connection.receive_data(b"\x17\x03\x03\x00\x20" + bytes(32), 100.0)
    *_, closed = client.engine.events()
    assert isinstance(closed, StreamClosed)


# ---- anything at all ---------------------------------------------------------------------------


def drive(connection: TLSConnection, pieces: Iterable[bytes]) -> int:
    """Feed and drain; bytes that were sent."""
    sent = 0
    for piece in pieces:
        connection.receive_data(piece, 100.0)
        connection.events()
        while connection.output:
            data = connection.data_to_send()
            assert data
            sent += len(data)
        assert connection.data_to_send() == b""
        assert connection.wants_data
        if connection.is_closed:
            assert connection.output_finished
    connection.receive_eof(100.0)
    assert connection.is_closed or connection.engine is not None
    return sent


FIXTURES = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@FIXTURES
@given(st.binary(max_size=400))
def test_any_bytes_at_first(server: Server, data: bytes) -> None:
    assert drive(server.accept(), [data]) < 10_000
    assert drive(server.accept(), [b"\x16\x03\x01\x00" + data]) < 10_000


@FIXTURES
@given(st.data())
def test_any_fault_in_a_conversation(
    server: Server, make_client_context: MakeClientContext, data: st.DataObject
) -> None:
    """A byte is changed, lost or added somewhere in what a good client sends."""
    server.engine = Engine()
    client = Client(server.accept(), make_client_context())
    at = data.draw(st.integers(0, 900))
    change = data.draw(st.sampled_from(("flip", "lose", "add", "cut")))
    seed = data.draw(st.integers(0, 1000))
    seen = 0

    def spoil(sent: bytes) -> Iterable[bytes]:
        nonlocal seen
        offset, seen = at - seen, seen + len(sent)
        if 0 <= offset < len(sent):
            middle = {
                "flip": bytes([sent[offset] ^ (1 << seed % 8)]),
                "lose": b"",
                "add": sent[offset : offset + 1] + b"\x17",
                "cut": b"",
            }[change]
            sent = sent[:offset] + middle + (b"" if change == "cut" else sent[offset + 1 :])
        return FEEDS[f"splits-seed-{1 + seed % 3}"](sent)

    client.feed = spoil
    client.shake_hands()
    if client.error is None and client.tls.version() and client.events:
        server.engine.output.append(b"response")
        client.send(b"request" * 20)
    drive(client.connection, [])
    genuine = b"request" * 20
    assert genuine.startswith(b"".join(server.engine.received))
