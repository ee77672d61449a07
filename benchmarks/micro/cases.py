"""The cases: each makes an operation, one request or message, that can be repeated at will."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path

from hpack import Encoder

from benchmarks.apps.plain import HELLO
from benchmarks.certificate import CERTIFICATE, KEY, make_certificate
from benchmarks.micro.driver import NOW, Driver, Respond
from hyperserver.asgi.http import HTTPCycle
from hyperserver.config import load_file
from hyperserver.protocol.interface import HTTP2Options, Limits, ResponseDefaults
from hyperserver.protocol.negotiate import choose_engines, open_http1
from hyperserver.protocol.tls import TLSConnection
from hyperserver.protocol.websocket.connection import WebSocket, WebSocketOptions

Operation = Callable[[], None]

_TYPE = (b"content-type", b"text/plain")
_START = {"type": "http.response.start", "status": 200, "headers": [_TYPE]}
_GET = b"GET /path HTTP/1.1\r\nHost: localhost:8000\r\n"
_POST = b"POST /path HTTP/1.1\r\nHost: localhost:8000\r\n"
_BODY = b"x" * 10_000
_CHUNK = b"x" * 1000
_FIELDS = (
    ("cache-control", "max-age=0"),
    ("sec-ch-ua", '"Chromium";v="128", "Not;A=Brand";v="24", "Google Chrome";v="128"'),
    ("sec-ch-ua-mobile", "?0"),
    ("sec-ch-ua-platform", '"Linux"'),
    ("upgrade-insecure-requests", "1"),
    (
        "user-agent",
        (
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
            "Chrome/128.0.0.0 Safari/537.36"
        ),
    ),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"),
    ("sec-fetch-site", "same-origin"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-user", "?1"),
    ("sec-fetch-dest", "document"),
    ("referer", "http://localhost:8000/"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("accept-language", "en-US,en;q=0.9"),
    ("cookie", "session=0123456789abcdef"),
    ("priority", "u=0, i"),
)


def _defaults() -> ResponseDefaults:
    return ResponseDefaults(date=b"Sun, 06 Nov 1994 08:49:37 GMT")


# ---- applications ------------------------------------------------------------------------------


def hello(cycle: HTTPCycle) -> None:
    cycle.take(_START)
    cycle.take({"type": "http.response.body", "body": HELLO})


def echo(cycle: HTTPCycle) -> None:
    """Takes a body and sends it back."""
    pieces, more = [], True
    while more:
        message = cycle.next_message()
        if message is None:
            raise AssertionError("the request is not complete")
        pieces.append(message["body"])
        more = message["more_body"]
    cycle.take(_START)
    cycle.take({"type": "http.response.body", "body": b"".join(pieces)})


def echo_in_chunks(cycle: HTTPCycle) -> None:
    """The same, in ten chunks and without a length."""
    while (message := cycle.next_message()) is not None and message["more_body"]:
        pass
    cycle.take(_START)
    for _ in range(10):
        cycle.take({"type": "http.response.body", "body": _CHUNK, "more_body": True})
    cycle.take({"type": "http.response.body", "body": b""})


# ---- HTTP/1 ------------------------------------------------------------------------------------


def _http1(engine: str, requests: Callable[[], bytes], respond: Respond) -> Operation:
    engines = choose_engines(http1=engine)
    driver = Driver(open_http1(engines, Limits(), _defaults(), "http", NOW), respond)

    def operation() -> None:
        served = driver.served
        driver.feed(requests())
        if driver.served != served + 1:
            raise AssertionError("the request was not served")

    return operation


def _the_same(request: bytes) -> Callable[[], bytes]:
    return lambda: request


def _lines(*more: bytes) -> bytes:
    fields = (f"{name}: {value}\r\n".encode() for name, value in _FIELDS)
    return b"".join((*fields, *more)) + b"\r\n"


def http1_get(engine: str = "httptools") -> Operation:
    return _http1(engine, _the_same(_GET + b"\r\n"), hello)


def http1_browser(engine: str = "httptools") -> Operation:
    return _http1(engine, _the_same(_GET + _lines()), hello)


def http1_varied(engine: str = "httptools") -> Operation:
    """No two requests with the same fields."""
    numbers = count(1_000_000)
    return _http1(engine, lambda: _GET + _lines(b"x-request-id: %d\r\n" % next(numbers)), hello)


def http1_post(engine: str = "httptools") -> Operation:
    request = _POST + b"content-length: 10000\r\n\r\n" + _BODY
    return _http1(engine, _the_same(request), echo)


def http1_chunked(engine: str = "httptools") -> Operation:
    """Ten chunks up, ten chunks down."""
    chunks = (b"3e8\r\n" + _CHUNK + b"\r\n") * 10 + b"0\r\n\r\n"
    request = _POST + b"transfer-encoding: chunked\r\n\r\n" + chunks
    return _http1(engine, _the_same(request), echo_in_chunks)


# ---- HTTP/2 ------------------------------------------------------------------------------------

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS, _WINDOW_UPDATE = 0x0, 0x1, 0x4, 0x8
_END_STREAM, _ACK, _END_HEADERS = 0x1, 0x1, 0x4


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """RFC 9113 §4.1."""
    return (
        len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload
    )


def _http2(
    engine: str, fields: tuple[tuple[str, str], ...], body: bytes, respond: Respond
) -> Operation:
    engines = choose_engines(http2=engine)
    wire = engines.make_http2(Limits(), HTTP2Options(), _defaults(), "http", NOW)
    driver = Driver(wire, respond)
    window = (2**31 - 1 - 65_535).to_bytes(4, "big")
    driver.feed(_PREFACE + _frame(_SETTINGS, 0, 0) + _frame(_WINDOW_UPDATE, 0, 0, window))
    driver.feed(_frame(_SETTINGS, _ACK, 0))
    encoder = Encoder()
    head = [
        (":method", "POST" if body else "GET"),
        (":scheme", "http"),
        (":authority", "localhost:8000"),
        (":path", "/path"),
        *fields,
    ]
    blocks = [encoder.encode(head), encoder.encode(head)]  # the second is by indices alone
    streams = count(1, 2)

    def operation() -> None:
        stream = next(streams)
        end = _END_HEADERS if body else _END_HEADERS | _END_STREAM
        request = _frame(_HEADERS, end, stream, blocks[stream > 1])
        if body:
            request += _frame(_DATA, _END_STREAM, stream, body)
        served = driver.served
        driver.feed(request)
        if driver.served != served + 1:
            raise AssertionError("the request was not served")

    return operation


# ---- WebSocket ---------------------------------------------------------------------------------


def websocket_echo(engine: str) -> Operation:
    """A text message of 64 bytes, there and back."""
    engines = choose_engines(websocket=engine)
    options = WebSocketOptions(ping_interval=0)
    driver = Driver(
        open_http1(engines, Limits(), _defaults(), "http", NOW),
        hello,
        lambda _: WebSocket(engines.make_frame_reader, options, None),
    )
    driver.feed(
        _GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    mask = b"\x37\xfa\x21\x3d"
    masked = bytes(octet ^ mask[at % 4] for at, octet in enumerate(b"x" * 64))
    frame = b"\x81\xc0" + mask + masked
    echoed = b"\x81\x40" + b"x" * 64

    def operation() -> None:
        if driver.feed(frame) != echoed:
            raise AssertionError("no echo")

    return operation


# ---- TLS ---------------------------------------------------------------------------------------


def tls_get() -> Operation:
    """A GET over TLS 1.3; the client's encryption is counted as well."""
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.check_hostname = False
    client_context.verify_mode = ssl.CERT_NONE
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        make_certificate(Path(folder))
        context.load_cert_chain(Path(folder, CERTIFICATE), Path(folder, KEY))
    engines = choose_engines()
    connection = TLSConnection(
        lambda _: context,
        lambda _, now: open_http1(engines, Limits(), _defaults(), "https", now),
        handshake_timeout=10.0,
        linger_timeout=5.0,
        now=NOW,
    )
    driver = Driver(connection, hello)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    while True:
        try:
            client.do_handshake()
            break
        except ssl.SSLWantReadError:
            incoming.write(driver.feed(outgoing.read()))
    incoming.write(driver.feed(outgoing.read()))
    request = _GET + b"\r\n"

    def operation() -> None:
        client.write(request)
        incoming.write(driver.feed(outgoing.read()))
        if not client.read(16_384).endswith(HELLO):
            raise AssertionError("no answer")

    return operation


# ---- configuration -----------------------------------------------------------------------------

_EXAMPLE = Path(__file__).resolve().parents[2] / "config.example.toml"


def config_load() -> Operation:
    """The example, which names many settings."""
    return lambda: _ignore(load_file(_EXAMPLE))


def _ignore(_: object) -> None:
    """A result is of no interest."""


# ---- all of them -------------------------------------------------------------------------------


def calibration() -> Operation:
    """Python doing what servers do, and nothing of ours: what everything else is divided by."""
    lines = [b"name-%d: value %d" % (number, number) for number in range(20)]
    template = dict.fromkeys("abcdefgh")

    def operation() -> None:
        found = {}
        for line in lines:
            name, _, value = line.partition(b":")
            found[name.lower()] = value.strip()
        copy = template.copy()
        copy["a"] = b"/path".decode("ascii")
        b"".join([b"%b: %b\r\n" % (name, value) for name, value in found.items()])

    return operation


#: Each makes an operation; it raises ConfigError where its engine is not installed.
CASES: dict[str, Callable[[], Operation]] = {
    "calibration": calibration,
    "h1-get": http1_get,
    "h1-browser": http1_browser,
    "h1-varied": http1_varied,
    "h1-varied-h11": partial(http1_varied, "h11"),
    "h1-post-10k": http1_post,
    "h1-chunked": http1_chunked,
    **{f"h2-get-{engine}": partial(_http2, engine, (), b"", hello) for engine in ("nghttp2", "h2")},
    **{
        f"h2-browser-{engine}": partial(_http2, engine, _FIELDS, b"", hello)
        for engine in ("nghttp2", "h2")
    },
    **{
        f"h2-post-10k-{engine}": partial(_http2, engine, (), _BODY, echo)
        for engine in ("nghttp2", "h2")
    },
    "ws-echo-websockets": partial(websocket_echo, "websockets"),
    "ws-echo-wsproto": partial(websocket_echo, "wsproto"),
    "tls-get": tls_get,
    "config-load": config_load,
}
