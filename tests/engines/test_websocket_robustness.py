"""Any bytes, in any pieces, at any time: never an exception, always the same for every engine.

And the other way round: independent clients that keep to the rules are understood, and understand.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.extensions.permessage_deflate import PerMessageDeflate as WebsocketsDeflate
from websockets.frames import Opcode
from websockets.protocol import CLIENT, Protocol, State
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.extensions import PerMessageDeflate as WsprotoDeflate

from hyperserver.protocol.negotiate import WEBSOCKET_ENGINES
from hyperserver.protocol.websocket.connection import WebSocketOptions
from hyperserver.protocol.websocket.deflate import Agreement, DeflateOptions, negotiate
from tests.engines.ws_peer import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FULL,
    KEY,
    PING,
    PONG,
    RSV1,
    TEXT,
    VALID_CODES,
    Message,
    Peer,
    close,
    fragmented,
    frame,
)

QUICK = settings(
    max_examples=200,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
LIMIT = WebSocketOptions(2000, ping_interval=0)

# ---- a grammar of sessions, good and nearly good ------------------------------------------

#: 1014 was registered after wsproto's list was written.
KNOWN_TO_CLIENTS = [code for code in VALID_CODES if code != 1014]


def raw_deflate(data: bytes, *, final: bool = False) -> bytes:
    deflater = zlib.compressobj(wbits=-15)
    made = deflater.compress(data)
    if final:
        return made + deflater.flush(zlib.Z_FINISH) + b"\x00"
    return (made + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]


contents = st.sampled_from(
    [b"", b"x", "é€𝄞".encode(), b"\xe2", b"\x82\xac", b"\xff", b"y" * 125, b"z" * 126, b"z" * 1999]
) | st.binary(max_size=20)
deflated = st.builds(raw_deflate, contents, final=st.booleans()) | st.just(
    raw_deflate(bytes(100_000))
)
keys = st.sampled_from([KEY, KEY, KEY, bytes(4), b"\x80\x00\xff\x01"])
opcodes = st.sampled_from([CONTINUATION, TEXT, BINARY, PING, PONG])

good_frames = st.builds(frame, opcodes, contents, fin=st.booleans(), key=keys)
whole_messages = st.builds(fragmented, st.sampled_from([TEXT, BINARY]), contents, st.integers(1, 4))
compressed = st.builds(
    fragmented,
    st.sampled_from([TEXT, BINARY]),
    deflated,
    st.integers(1, 4),
    rsv=st.just(RSV1),
)
closes = st.builds(close, st.sampled_from([None, 1000, 1001, 1005, 2000, 4000]), contents)
any_frames = st.builds(
    frame,
    st.integers(0, 15),
    contents,
    fin=st.booleans(),
    rsv=st.sampled_from([0, 0, 0, 0x10, 0x20, 0x40, 0x70]),
    key=st.sampled_from([KEY, KEY, KEY, None]),
)
odd_lengths = st.builds(
    frame,
    opcodes,
    contents,
    length=st.sampled_from([0, 5, 125, 126, 2000, 2001, 65_535, 65_536, 2**63 - 1]),
    form=st.just(64),
)
pings = st.builds(frame, st.sampled_from([PING, PONG]), st.binary(max_size=5))
sessions = st.lists(
    st.one_of(
        *(whole_messages, whole_messages, compressed, pings, good_frames),
        *(closes, any_frames, odd_lengths, st.binary(max_size=8)),
    ),
    max_size=8,
)
agreements = st.sampled_from(
    [None, FULL, Agreement(15, 15, True, False), Agreement(9, 9, True, True)]
)
cuts = st.lists(st.integers(0, 3000), max_size=12)


def cut(data: bytes, at: Sequence[int]) -> list[bytes]:
    places = sorted({place for place in at if 0 < place < len(data)})
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


def run(engine: str, agreement: Agreement | None, pieces: Sequence[bytes]) -> tuple[Any, ...]:
    """Everything that can be seen of it. Reasons are the engines' own."""
    peer = Peer(engine, LIMIT, agreement)
    for piece in pieces:
        peer.receive(piece)
    while_open = peer.ws.is_open, peer.ws.finished, peer.ws.is_behind
    peer.end()
    assert peer.ws.finished and peer.ws.closed is not None
    sent = [(one.opcode, one.payload[: 2 if one.opcode == CLOSE else None]) for one in peer.sent]
    code, reason = peer.ws.closed
    return (
        while_open,
        peer.messages,
        sent,
        code,
        reason if peer.sent_close != peer.ws.closed else "",
    )


@QUICK
@given(sessions, agreements, cuts)
def test_every_engine_says_the_same_however_it_is_fed(
    session: list[bytes], agreement: Agreement | None, at: list[int]
) -> None:
    data = b"".join(session)
    first = run(WEBSOCKET_ENGINES[0], agreement, [data])
    for engine in WEBSOCKET_ENGINES:
        assert run(engine, agreement, [data]) == first
        assert run(engine, agreement, cut(data, at)) == first
        assert run(engine, agreement, session) == first
    if len(data) < 500:
        for engine in WEBSOCKET_ENGINES:
            assert run(engine, agreement, [data[i : i + 1] for i in range(len(data))]) == first


@QUICK
@given(st.binary(max_size=300), agreements, cuts, st.sampled_from(WEBSOCKET_ENGINES))
def test_anything_may_come(
    data: bytes, agreement: Agreement | None, at: list[int], engine: str
) -> None:
    assert run(engine, agreement, cut(data, at)) == run(engine, agreement, [data])


# ---- an application and a client in any order ---------------------------------------------


class AnyOrder(RuleBasedStateMachine):
    """Both engines at once, with the same client, application and clock."""

    def __init__(self) -> None:
        super().__init__()
        options = WebSocketOptions(2000, ping_interval=20, ping_timeout=7, close_timeout=10)
        self.peers = [Peer(engine, options, FULL, reads=False) for engine in WEBSOCKET_ENGINES]
        self.now = 1000.0
        self.held: list[bytes] = []
        self.input_ended = False
        self.told: tuple[int, str] | None = None
        self.was_finished = False

    def each(self, act: Callable[[Peer], object]) -> None:
        for peer in self.peers:
            act(peer)

    @property
    def one(self) -> Peer:
        return self.peers[0]

    @precondition(lambda self: not self.input_ended)
    @rule(data=st.one_of(whole_messages, compressed, pings, good_frames, any_frames), parts=cuts)
    def receive(self, data: bytes, parts: list[int]) -> None:
        for piece in cut(data, parts):
            self.each(lambda peer, piece=piece: peer.ws.receive_data(piece))  # type: ignore[misc]

    @precondition(lambda self: not self.input_ended)
    @rule(data=whole_messages, count=st.integers(1, 80))
    def receive_many(self, data: bytes, count: int) -> None:
        self.each(lambda peer: peer.ws.receive_data(data * count))

    @precondition(lambda self: not self.input_ended)
    @rule(data=closes)
    def receive_close(self, data: bytes) -> None:
        self.each(lambda peer: peer.ws.receive_data(data))

    @precondition(lambda self: not self.input_ended)
    @rule()
    def receive_pong(self) -> None:
        if self.one.pings:
            self.each(lambda peer: peer.ws.receive_data(frame(PONG, self.one.pings[-1])))

    @precondition(lambda self: not self.input_ended)
    @rule()
    def receive_end(self) -> None:
        self.input_ended = True
        self.each(lambda peer: peer.ws.receive_end())

    @rule(count=st.integers(1, 100))
    def take(self, count: int) -> None:
        self.each(lambda peer: peer.take(count))

    @precondition(lambda self: self.one.ws.is_open)
    @rule(message=st.text(max_size=50) | st.binary(max_size=50) | st.just(bytes(70_000)))
    def send(self, message: Message) -> None:
        self.each(lambda peer: peer.ws.send(message))

    @rule(
        code=st.sampled_from(VALID_CODES),
        reason=st.text(max_size=80),
        at_once=st.booleans(),
    )
    def close(self, code: int, reason: str, at_once: bool) -> None:
        self.each(lambda peer: peer.ws.close(code, reason, at_once=at_once))

    @rule()
    def flush(self) -> None:
        self.each(lambda peer: peer.flush())

    @rule(passed=st.sampled_from([0.0, 0.1, 3.0, 7.0, 10.0, 20.0, 100.0]))
    def wait(self, passed: float) -> None:
        self.now += passed
        self.each(lambda peer: peer.look(self.now))

    @invariant()
    def engines_agree(self) -> None:
        first, *others = (
            (
                peer.ws.is_open,
                peer.ws.finished,
                peer.ws.aborted,
                peer.ws.is_behind,
                peer.ws.next_look,
                peer.ws.messages,
                peer.messages,
                peer.ws.closed and peer.ws.closed[0],
                peer.pongs,
                peer.pings,
            )
            for peer in self.peers
        )
        assert all(other == first for other in others)

    @invariant()
    def what_was_said_stays_said(self) -> None:
        ws = self.one.ws
        if self.told is not None:
            assert ws.closed == self.told
        self.told = ws.closed
        assert not (self.was_finished and not ws.finished)
        self.was_finished = ws.finished
        if ws.finished:
            assert ws.closed is not None and ws.next_look is None and not ws.is_behind
        if ws.closed is not None or ws.finished:
            assert not ws.is_open
        if self.input_ended and not ws.is_behind:
            assert ws.finished

    @invariant()
    def memory_is_bounded(self) -> None:
        ws = self.one.ws
        assert sum(map(len, ws.messages)) <= 65_536 + 2000
        assert len(ws.messages) <= 1100
        assert not ws.is_behind or ws.messages

    def teardown(self) -> None:
        """There is always an end to come to."""
        for peer in self.peers:
            peer.ws.close(1001)
            peer.take().flush()
            now = self.now
            for _ in range(3):
                now += 3600.0
                peer.look(now).take()
            assert peer.ws.finished and not peer.take().ws.messages


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(QUICK, max_examples=150, stateful_step_count=30, print_blob=True)


# ---- independent clients ------------------------------------------------------------------


class Client:
    """An independent one: bytes out of it, bytes into it, and what it has understood."""

    def send(self, message: Message, pieces: int) -> bytes:
        raise NotImplementedError

    def ping(self, payload: bytes) -> bytes:
        raise NotImplementedError

    def close(self, code: int, reason: str) -> bytes:
        raise NotImplementedError

    def receive(self, data: bytes) -> bytes:
        """Understand ``data``; what it answers."""
        raise NotImplementedError

    messages: list[Message]
    pongs: list[bytes]
    closed: tuple[int, str] | None


class WebsocketsClient(Client):
    def __init__(self, agreement: Agreement | None) -> None:
        self._protocol = Protocol(CLIENT, state=State.OPEN, max_size=None)
        if agreement is not None:
            self._protocol.extensions = [
                WebsocketsDeflate(
                    not agreement.server_takeover,
                    not agreement.client_takeover,
                    agreement.server_window_bits,
                    agreement.client_window_bits,
                )
            ]
        self.messages = []
        self.pongs = []
        self._parts: list[bytes] = []
        self._is_text = False

    @property
    def closed(self) -> tuple[int, str] | None:  # type: ignore[override]
        received = self._protocol.close_rcvd
        return None if received is None else (received.code, received.reason)

    def _taken(self) -> bytes:
        return b"".join(self._protocol.data_to_send())

    def send(self, message: Message, pieces: int) -> bytes:
        data = message.encode() if isinstance(message, str) else message
        size = -(-len(data) // pieces) or 1
        first = self._protocol.send_text if isinstance(message, str) else self._protocol.send_binary
        first(data[:size], fin=pieces == 1)
        for i in range(1, pieces):
            part = data[i * size : (i + 1) * size]
            self._protocol.send_continuation(part, fin=i == pieces - 1)
        return self._taken()

    def ping(self, payload: bytes) -> bytes:
        self._protocol.send_ping(payload)
        return self._taken()

    def close(self, code: int, reason: str) -> bytes:
        self._protocol.send_close(code, reason)
        return self._taken()

    def receive(self, data: bytes) -> bytes:
        self._protocol.receive_data(data)
        assert self._protocol.parser_exc is None
        for received in cast("list[Any]", self._protocol.events_received()):
            if received.opcode is Opcode.PONG:
                self.pongs.append(bytes(received.data))
            elif received.opcode in {Opcode.TEXT, Opcode.BINARY}:
                assert received.fin
                content = bytes(received.data)
                self.messages.append(
                    content.decode() if received.opcode is Opcode.TEXT else content
                )
        return self._taken()


class WsprotoClient(Client):
    def __init__(self, agreement: Agreement | None) -> None:
        extensions = []
        if agreement is not None:
            deflate = WsprotoDeflate(
                client_no_context_takeover=not agreement.client_takeover,
                server_no_context_takeover=not agreement.server_takeover,
                client_max_window_bits=agreement.client_window_bits,
                server_max_window_bits=agreement.server_window_bits,
            )
            deflate._enabled = True
            extensions.append(deflate)
        self._connection = Connection(ConnectionType.CLIENT, extensions)  # type: ignore[arg-type]
        self.messages = []
        self.pongs = []
        self.closed = None
        self._parts: list[Any] = []

    def send(self, message: Message, pieces: int) -> bytes:
        size = -(-len(message) // pieces) or 1
        made = b""
        for i in range(pieces):
            part, ends = message[i * size : (i + 1) * size], i == pieces - 1
            event = (
                TextMessage(data=part, message_finished=ends)
                if isinstance(part, str)
                else BytesMessage(data=part, message_finished=ends)
            )
            made += self._connection.send(event)
        return made

    def ping(self, payload: bytes) -> bytes:
        return self._connection.send(Ping(payload=payload))

    def close(self, code: int, reason: str) -> bytes:
        return self._connection.send(CloseConnection(code=code, reason=reason))

    def receive(self, data: bytes) -> bytes:
        self._connection.receive_data(data)
        made = b""
        for event in self._connection.events():
            if isinstance(event, (TextMessage, BytesMessage)):
                self._parts.append(event.data)
                if event.message_finished:
                    empty: Any = "" if isinstance(event, TextMessage) else b""
                    self.messages.append(empty.join(self._parts))
                    self._parts.clear()
            elif isinstance(event, Pong):
                self.pongs.append(bytes(event.payload))
            elif isinstance(event, Ping):
                made += self._connection.send(event.response())
            elif isinstance(event, CloseConnection):
                self.closed = int(event.code), event.reason or ""
                if self._connection.state.name == "REMOTE_CLOSING":
                    made += self._connection.send(event.response())
        return made


CLIENTS: list[Callable[[Agreement | None], Client]] = [WebsocketsClient, WsprotoClient]
messages = st.lists(
    st.text(max_size=200)
    | st.binary(max_size=200)
    | st.sampled_from(["", b"", "Hello" * 1000, bytes(70_000), "é€𝄞" * 5000]),
    max_size=6,
)
bits = st.integers(9, 15)
agreed = st.none() | st.builds(Agreement, bits, bits, st.booleans(), st.booleans())


@pytest.mark.parametrize("make_client", CLIENTS)
@pytest.mark.parametrize("engine", WEBSOCKET_ENGINES)
@settings(QUICK, max_examples=60)
@given(
    agreed, messages, messages, st.integers(1, 5), st.sampled_from(KNOWN_TO_CLIENTS), st.booleans()
)
def test_what_independent_clients_say_and_hear(
    make_client: Callable[[Agreement | None], Client],
    engine: str,
    agreement: Agreement | None,
    theirs: list[Message],
    ours: list[Message],
    pieces: int,
    code: int,
    server_closes: bool,
) -> None:
    options = WebSocketOptions(ping_interval=20)
    client = make_client(agreement)
    peer = Peer(engine, options, agreement).look(100.0)
    out: list[bytes] = []

    def exchange(*data: bytes) -> None:
        """Until nobody has more to say."""
        for one in data:
            peer.ws.receive_data(one)
            peer.take()
        while sent := b"".join(peer.ws.data_to_send()):
            out.append(sent)
            peer.ws.receive_data(client.receive(sent))
            peer.take()

    for i, message in enumerate(theirs):
        exchange(client.send(message, pieces), client.ping(b"%d" % i))
    for message in ours:
        peer.ws.send(message)
        exchange()
    peer.ws.look(120.0)
    exchange()
    assert peer.ws.next_look == 140.0  # the pong was there
    assert peer.messages == theirs
    assert client.messages == ours
    assert client.pongs == [b"%d" % i for i in range(len(theirs))]
    if server_closes:
        peer.ws.close(code, "bye €")
        exchange()
        assert client.closed == (code, "bye €")
        assert peer.ws.closed is not None and peer.ws.closed[0] == code
    else:
        exchange(client.close(code, "bye €"))
        assert peer.ws.closed == (code, "bye €")
        assert client.closed is not None and client.closed[0] == code
    assert peer.ws.finished and not peer.ws.aborted


@settings(QUICK, max_examples=100)
@given(
    st.booleans(), st.booleans(), st.none() | bits, st.none() | st.just(True) | bits,
    bits, st.booleans(),
)  # fmt: skip
def test_independent_clients_accept_what_is_answered_to_their_offers(
    server_fresh: bool,
    client_fresh: bool,
    server_bits: int | None,
    client_bits: int | bool | None,
    wanted: int,
    takeover: bool,
) -> None:
    """And both sides have then agreed on the same."""
    factory = ClientPerMessageDeflateFactory(server_fresh, client_fresh, server_bits, client_bits)
    offer = "; ".join(
        ["permessage-deflate"]
        + [
            name if value is None else f"{name}={value}"
            for name, value in factory.get_request_params()
        ]
    )
    agreement = negotiate(offer, DeflateOptions(wanted, context_takeover=takeover))
    assert agreement is not None
    _, *said = agreement.response().decode().split("; ")
    params = [(name, value or None) for name, _, value in (one.partition("=") for one in said)]
    accepted = factory.process_response_params(params, [])
    assert accepted.remote_max_window_bits == agreement.server_window_bits
    assert accepted.local_max_window_bits == agreement.client_window_bits
    assert accepted.remote_no_context_takeover is not agreement.server_takeover
    # A client may always do without what it was allowed.
    assert accepted.local_no_context_takeover or agreement.client_takeover
