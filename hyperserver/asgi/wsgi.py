"""One call of a WSGI application (PEP 3333): its environ, its input, and what it says in response.

Synchronous: a WSGI application runs in a thread of its own, which may block. What it reads comes
from a ``receive`` that blocks until there is an ASGI message, what it gives goes to a ``send`` that
blocks until the messages are on their way:

    start_response ──► write / a block of the iterable ──► … ──► the end of the iterable
                            │ first one: the head as well           └─► close()

A block is sent before the next one is asked for. The last one is known as such where the length of
the iterable is, or that of the body, so that a whole response leaves at once.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol, Self
from urllib.parse import unquote_to_bytes

from hyperserver.asgi.types import Environ, Message, WSGIApplication
from hyperserver.errors import ClientDisconnected, LocalProtocolError
from hyperserver.protocol import fields

#: Bytes that a file wrapper reads at a time, at least; the application's size is a suggestion.
BLOCK_SIZE = 65_536
#: Of field names remembered; more than a deployment's clients send.
_MAX_KNOWN = 1024
#: What concerns a connection, which is the server's (RFC 2616 §13.5.1, as PEP 3333 has it).
_HOP_BY_HOP = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailers",
        "transfer-encoding",
        "upgrade",
    )
)
_STATUS = re.compile(r"([2-9][0-9]{2})( [ -~\x80-\xff]*)?", re.ASCII)
#: HTTP/2 has no minor version, but the value has (RFC 3875 §4.1.16).
_PROTOCOLS = {"1.0": "HTTP/1.0", "1.1": "HTTP/1.1", "2": "HTTP/2.0"}

_keys: dict[bytes, str] = {b"content-type": "CONTENT_TYPE", b"content-length": "CONTENT_LENGTH"}

Receive = Callable[[], Message]


class Sender(Protocol):
    """The way to the client. Both may raise ClientDisconnected, ``send`` LocalProtocolError, too."""

    def send(self, messages: tuple[Message, ...]) -> None:
        """Send them, and wait until they are on their way."""

    def send_last(self, messages: tuple[Message, ...], *, hurry: bool) -> None:
        """Send them without waiting. Unless in a hurry, when the call has ended is early enough."""


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


# ---- the request -------------------------------------------------------------------------------


def make_environ(scope: Mapping[str, Any], body: Input, more: Mapping[str, Any]) -> Environ:
    """The environ of a request; ``more`` is what is the same for all, ``wsgi.errors`` among it.

    Its strings are bytes decoded as Latin-1, whatever they mean.
    """
    path, root_path = _paths(scope)
    server = scope.get("server") or ("localhost", None)
    host, port = server
    if port is None:  # a Unix socket, whose path is no name
        host, port = "localhost", 443 if scope["scheme"] == "https" else 80
    client = scope.get("client") or ("", None)
    environ: Environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": root_path,
        "PATH_INFO": path,
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": _PROTOCOLS[scope["http_version"]],
        "REMOTE_ADDR": client[0],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": body,
        "wsgi.input_terminated": True,
        "wsgi.file_wrapper": FileWrapper,
        **more,
    }
    if client[1] is not None:
        environ["REMOTE_PORT"] = str(client[1])
    for name, value in scope["headers"]:
        key = _keys.get(name)
        if key is None:
            key = _remember(name)
        if not key:
            continue
        if key in environ:
            separator = "; " if key == "HTTP_COOKIE" else ","
            environ[key] += separator + value.decode("latin-1")
        else:
            environ[key] = value.decode("latin-1")
    return environ


def _remember(name: bytes) -> str:
    """The key of a field, empty for one that is left out.

    That is a name with "_", which would pass for one with "-" that a proxy vouches for, and Proxy,
    which programs that WSGI applications start would take for the variable of that name.
    """
    key = ""
    if b"_" not in name and name != b"proxy":
        key = "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
    if len(_keys) < _MAX_KNOWN:
        _keys[name] = key
    return key


def _paths(scope: Mapping[str, Any]) -> tuple[str, str]:
    """PATH_INFO and SCRIPT_NAME."""
    path, root_path = scope["path"], scope.get("root_path", "")
    if "\ufffd" in path and scope.get("raw_path"):  # its bytes are no UTF-8: take them as they came
        path = unquote_to_bytes(scope["raw_path"]).decode("latin-1")
        root_path = _latin(root_path)
    else:
        path, root_path = _latin(path), _latin(root_path)
    if root_path and (path == root_path or path.startswith(root_path + "/")):
        path = path[len(root_path) :]
    return path, root_path


def _latin(text: str) -> str:
    return text if text.isascii() else text.encode().decode("latin-1")


class Input:
    """``wsgi.input``: the body as a file, of which no more is held than a message and a line.

    It ends where the body does. Its methods raise ClientDisconnected, an OSError, where the client
    has gone before that.
    """

    __slots__ = ("_chunk", "_ended", "_offset", "_receive")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._chunk = b""
        self._offset = 0
        self._ended = False

    def _fill(self) -> bool:
        """Have bytes at hand, or false at the end."""
        while self._offset == len(self._chunk):
            if self._ended:
                return False
            message = self._receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnected
            self._chunk = message.get("body", b"")
            self._offset = 0
            self._ended = not message.get("more_body", False)
        return True

    def _take(self, end: int) -> bytes:
        piece = self._chunk[self._offset : end]
        self._offset += len(piece)
        return piece

    def read(self, size: int | None = -1, /) -> bytes:
        """``size`` bytes, or as many as there are up to the end."""
        left = sys.maxsize if size is None or size < 0 else size
        pieces = []
        while left and self._fill():
            pieces.append(self._take(self._offset + left))
            left -= len(pieces[-1])
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def readline(self, size: int | None = -1, /) -> bytes:
        left = sys.maxsize if size is None or size < 0 else size
        pieces = []
        while left and self._fill():
            end = self._chunk.find(b"\n", self._offset) + 1
            limit = self._offset + left
            pieces.append(self._take(min(end, limit) if end else limit))
            left -= len(pieces[-1])
            if pieces[-1].endswith(b"\n"):
                break
        return b"".join(pieces)

    def readlines(self, hint: int | None = -1, /) -> list[bytes]:
        """All lines, or, of a positive ``hint``, as many as come to so many bytes."""
        lines = []
        total = 0
        for line in self:
            lines.append(line)
            total += len(line)
            if hint is not None and 0 < hint <= total:
                break
        return lines

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        line = self.readline()
        if not line:
            raise StopIteration
        return line


# ---- the response ------------------------------------------------------------------------------


class FileWrapper:
    """``wsgi.file_wrapper``: the blocks of a file, which is closed along with it."""

    def __init__(self, file: Readable, block_size: int = BLOCK_SIZE) -> None:
        self._file = file
        self._size = max(block_size, BLOCK_SIZE)
        if hasattr(file, "close"):
            self.close = file.close

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self._file.read(self._size), b"")


class Response:
    """``start_response``, and the messages that it and the blocks of the body come to."""

    __slots__ = (
        "_complete",
        "_head",
        "_is_head",
        "_length",
        "_sender",
        "_sent",
        "_under_way",
        "lingers",
    )

    def __init__(self, sender: Sender, method: str) -> None:
        self._sender = sender
        self._is_head = method == "HEAD"
        self._head: Message | None = None
        #: What Content-Length says.
        self._length: int | None = None
        self._sent = 0
        self._under_way = False
        self._complete = False
        #: The application may have things to do once the response has ended.
        self.lingers = True

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None, /
    ) -> Callable[[bytes], None]:
        """As PEP 3333 has it. Raises LocalProtocolError, and what ``exc_info`` holds where the head
        has gone out.
        """
        if exc_info:
            try:
                if self._under_way:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # a cycle with this frame
        elif self._head is not None:
            raise LocalProtocolError("start_response was called again, and without exc_info")
        if not isinstance(status, str) or (matched := _STATUS.fullmatch(status)) is None:
            raise LocalProtocolError(f'the status is a string such as "200 OK", not {status!r}')
        pairs = [_pair(header) for header in headers]
        self._length = fields.response_fields(pairs).content_length
        self._head = {
            "type": "http.response.start",
            "status": int(matched[1]),
            "headers": pairs,
        }
        return self.write

    def write(self, data: bytes) -> None:
        """Send ``data``, after the head if it is the first. Raises OSError, LocalProtocolError."""
        self._give(data, last=False)

    def give(self, blocks: Iterable[bytes]) -> None:
        """Send all that the application has returned, and the end."""
        count = len(blocks) if isinstance(blocks, list | tuple) else 0
        for number, block in enumerate(blocks, 1):
            if block or number == count:
                self._give(block, last=number == count)
            if self._complete and self._is_head:
                return
        if not self._complete:
            self._give(b"", last=True)

    def _give(self, data: bytes, *, last: bool) -> None:
        if not isinstance(data, bytes):
            raise LocalProtocolError(f"the body is bytes, not {type(data).__name__}")
        if self._head is None:
            raise LocalProtocolError("the body has come before start_response was called")
        if self._complete:
            if data and not self._is_head:
                raise LocalProtocolError(
                    f"the body is longer than its content-length of {self._length}"
                )
            return
        self._sent += len(data)
        if self._is_head and not last:
            data = b""  # nobody is to see more than the head
            last = True
        last = last or self._sent == self._length
        body = {"type": "http.response.body", "body": data, "more_body": not last}
        messages = (body,) if self._under_way else (self._head, body)
        self._under_way = True
        self._complete = last
        if last:
            self._sender.send_last(messages, hurry=self.lingers)
        else:
            self._sender.send(messages)


def _pair(header: tuple[str, str]) -> tuple[bytes, bytes]:
    try:
        name, value = header
        pair = name.encode("latin-1"), value.encode("latin-1")
    except (TypeError, ValueError, AttributeError):
        raise LocalProtocolError(
            f"headers are pairs of strings of Latin-1, not {header!r}"
        ) from None
    if name.lower() in _HOP_BY_HOP:
        raise LocalProtocolError(f"the header {name!r} is not the application's (PEP 3333)")
    return pair


def call(app: WSGIApplication, environ: Environ, sender: Sender) -> None:
    """Call ``app`` and send what it responds. Raises whatever it or ``sender`` raises.

    ``close`` of what it returns is called however that ends, once.
    """
    response = Response(sender, environ["REQUEST_METHOD"])
    blocks = app(environ, response.start_response)
    close = getattr(blocks, "close", None)
    try:
        response.lingers = close is not None or not isinstance(blocks, list | tuple)
        response.give(blocks)
    finally:
        if close is not None:
            close()
