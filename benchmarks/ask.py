"""One request or message, to see that a server is up and answers what it should."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
from urllib.parse import SplitResult, urlsplit

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from benchmarks.apps.plain import HELLO
from benchmarks.clients import websocket as client

_TIMEOUT = 5.0

Answer = tuple[int, bytes]


def http1(url: str, body: bytes | None = None) -> Answer:
    """Status and body of the answer to a GET, or to a POST of ``body``. Raises OSError or
    HTTPException where there is no answer.
    """
    target = urlsplit(url)
    connection: http.client.HTTPConnection
    if target.scheme == "https":
        secure = _context("http/1.1")
        connection = http.client.HTTPSConnection(target.netloc, timeout=_TIMEOUT, context=secure)
    else:
        connection = http.client.HTTPConnection(target.netloc, timeout=_TIMEOUT)
    try:
        connection.request("GET" if body is None else "POST", target.path, body)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def http2(url: str, body: bytes | None = None) -> Answer:
    """The same with prior knowledge or by ALPN. Raises OSError where there is no answer."""
    target = urlsplit(url)
    with contextlib.ExitStack() as stack:
        address = (target.hostname, target.port)
        sock = stack.enter_context(socket.create_connection(address, timeout=_TIMEOUT))
        if target.scheme == "https":
            secure = _context("h2").wrap_socket(sock)
            sock = stack.enter_context(secure)
            if secure.selected_alpn_protocol() != "h2":
                raise ConnectionError("does not choose HTTP/2")
        try:
            return _http2_over(sock, target, body)
        except h2.exceptions.ProtocolError as error:
            raise ConnectionError(f"does not speak HTTP/2: {error}") from None


def websocket(url: str) -> Answer:
    """The handshake's status, and the echo of HELLO. Raises OSError where there is none."""
    sock, status = client.handshake(url, _TIMEOUT)
    with sock:
        if status != http.HTTPStatus.SWITCHING_PROTOCOLS:
            return status, b""
        request = client.frame(client.TEXT, HELLO, b"mask")
        echo = client.frame(client.TEXT, HELLO)
        try:
            client.exchange(sock, request, echo)
        except client.LoadFailure as error:
            raise ConnectionError(str(error)) from None
        return status, HELLO


def _context(protocol: str) -> ssl.SSLContext:
    """It takes any certificate: it asks nobody but the server that was just started."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([protocol])
    return context


def _http2_over(sock: socket.socket, target: SplitResult, body: bytes | None) -> Answer:
    """``body`` is small enough for the first window."""
    config = h2.config.H2Configuration(client_side=True)
    connection = h2.connection.H2Connection(config)
    connection.initiate_connection()
    head = {
        ":method": "GET" if body is None else "POST",
        ":scheme": target.scheme,
        ":authority": target.netloc,
        ":path": target.path,
    }
    stream = connection.get_next_available_stream_id()
    connection.send_headers(stream, head.items(), body is None)
    for at in range(0, len(body or b""), connection.max_outbound_frame_size):
        connection.send_data(stream, (body or b"")[at : at + connection.max_outbound_frame_size])
    if body is not None:
        connection.end_stream(stream)
    status, answer = 0, b""
    while True:
        sock.sendall(connection.data_to_send())
        received = sock.recv(65_536)
        if not received:
            raise ConnectionError("closed the connection without an answer")
        for event in connection.receive_data(received):
            if isinstance(event, h2.events.ResponseReceived):
                status = int(dict(event.headers)[b":status"])
            elif isinstance(event, h2.events.DataReceived):
                answer += event.data
                connection.acknowledge_received_data(event.flow_controlled_length, stream)
            elif isinstance(event, h2.events.StreamEnded):
                return status, answer
            elif isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
                raise ConnectionError(f"refused: error code {event.error_code}")
