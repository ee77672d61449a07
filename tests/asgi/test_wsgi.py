"""WSGI by the book (PEP 3333), without a thread: what is read and sent happens at once."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.util import is_hop_by_hop
from wsgiref.validate import validator

import pytest

from hyperserver.asgi import wsgi
from hyperserver.asgi.wsgi import FileWrapper, Input, call, make_environ
from hyperserver.errors import ClientDisconnected, LocalProtocolError

OK = "200 OK"
PLAIN = [("Content-Type", "text/plain")]
MORE = {
    "wsgi.errors": sys.stderr,
    "wsgi.multithread": True,
    "wsgi.multiprocess": False,
    "wsgi.run_once": False,
}


# ---- the request -----------------------------------------------------------------------------


def scope_of(**changes: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"shop.test")],
        "client": ("192.0.2.7", 50123),
        "server": ("192.0.2.1", 8000),
        **changes,
    }


def body_of(*chunks: bytes, gone: bool = False) -> Input:
    """The input that comes in these messages; with ``gone``, the client leaves after them."""
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks
    ]
    messages.append({"type": "http.disconnect"} if gone else {"type": "http.request"})
    inbox = iter(messages)
    return Input(lambda: next(inbox) if not gone else next(inbox, {"type": "http.disconnect"}))


def environ_of(**changes: Any) -> dict[str, Any]:
    return make_environ(scope_of(**changes), body_of(), MORE)


def test_the_environ_of_a_request() -> None:
    body = body_of()
    environ = make_environ(
        scope_of(
            method="POST",
            path="/cart",
            raw_path=b"/cart",
            query_string=b"a=1&b=%20",
            headers=[
                (b"host", b"shop.test"),
                (b"content-type", b"text/plain"),
                (b"content-length", b"3"),
                (b"x-wish", b"caf\xe9"),
            ],
        ),
        body,
        MORE,
    )
    assert environ == {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/cart",
        "QUERY_STRING": "a=1&b=%20",
        "SERVER_NAME": "192.0.2.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "192.0.2.7",
        "REMOTE_PORT": "50123",
        "CONTENT_TYPE": "text/plain",
        "CONTENT_LENGTH": "3",
        "HTTP_HOST": "shop.test",
        "HTTP_X_WISH": "caf\xe9",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": body,
        "wsgi.input_terminated": True,
        "wsgi.file_wrapper": FileWrapper,
        **MORE,
    }


@pytest.mark.parametrize(
    ("version", "protocol"), [("1.0", "HTTP/1.0"), ("1.1", "HTTP/1.1"), ("2", "HTTP/2.0")]
)
def test_the_protocol_has_two_numbers(version: str, protocol: str) -> None:
    assert environ_of(http_version=version)["SERVER_PROTOCOL"] == protocol


@pytest.mark.parametrize(
    ("path", "raw_path", "root_path", "script_name", "path_info"),
    [
        ("/a b", b"/a%20b", "", "", "/a b"),
        ("/café", b"/caf%C3%A9", "", "", "/caf\xc3\xa9"),
        ("/caf\ufffd", b"/caf%E9", "", "", "/caf\xe9"),
        ("/\ufffd", b"/%EF%BF%BD", "", "", "/\xef\xbf\xbd"),
        ("/shop/cart", b"/shop/cart", "/shop", "/shop", "/cart"),
        ("/shop", b"/shop", "/shop", "/shop", ""),
        ("/shop/", b"/shop/", "/shop", "/shop", "/"),
        ("/shop/\ufffd", b"/shop/%E9", "/shop", "/shop", "/\xe9"),
        ("/shop/\ufffd", b"/%E9", "/shop", "/shop", "/\xe9"),
        ("/café/cart", b"/cart", "/café", "/caf\xc3\xa9", "/cart"),
        ("/shopping", b"/shopping", "/shop", "/shop", "/shopping"),
        ("/a%2Fb", b"/a%252Fb", "", "", "/a%2Fb"),
        ("*", b"*", "", "", "*"),
    ],
)
def test_paths_are_bytes_in_disguise(
    path: str, raw_path: bytes, root_path: str, script_name: str, path_info: str
) -> None:
    environ = environ_of(path=path, raw_path=raw_path, root_path=root_path)
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == (script_name, path_info)


@pytest.mark.parametrize(
    ("scheme", "server", "name", "port"),
    [
        ("http", ("::1", 8000), "::1", "8000"),
        ("http", ("/run/shop.sock", None), "localhost", "80"),
        ("https", ("/run/shop.sock", None), "localhost", "443"),
        ("http", None, "localhost", "80"),
    ],
)
def test_the_server_has_a_name_and_a_port(scheme: str, server: Any, name: str, port: str) -> None:
    environ = environ_of(scheme=scheme, server=server)
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == (name, port)


def test_a_client_on_a_unix_socket_has_no_address() -> None:
    environ = environ_of(client=None)
    assert environ["REMOTE_ADDR"] == ""
    assert "REMOTE_PORT" not in environ
    assert "REMOTE_PORT" not in environ_of(client=("192.0.2.9", None))


def test_fields_that_repeat_are_joined() -> None:
    environ = environ_of(
        headers=[
            (b"cookie", b"a=1"),
            (b"accept", b"text/html"),
            (b"cookie", b"b=2"),
            (b"accept", b"*/*"),
        ]
    )
    assert environ["HTTP_COOKIE"] == "a=1; b=2"
    assert environ["HTTP_ACCEPT"] == "text/html,*/*"


@pytest.mark.parametrize("name", [b"x_forwarded_for", b"content_length", b"proxy", b"x-real_ip"])
def test_fields_that_pass_for_others_are_left_out(name: bytes) -> None:
    for _ in range(2):  # also once they are known
        environ = environ_of(headers=[(name, b"1")])
        assert not [key for key in environ if key.startswith(("HTTP_", "CONTENT_"))]


def test_the_names_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wsgi, "_keys", {})
    for number in range(3000):
        key = f"HTTP_X_{number}"
        assert environ_of(headers=[(b"x-%d" % number, b"")])[key] == ""
    assert len(wsgi._keys) <= 1024


# ---- the input -------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(), (-1,), (None,), (100,)])
def test_the_body_is_read_to_its_end(size: Any) -> None:
    body = body_of(b"one", b"", b"two")
    assert body.read(*size) == b"onetwo"
    assert body.read() == b""
    assert body.read(5) == b""
    assert body.readline() == b""
    assert list(body) == []


def test_reading_takes_as_much_as_was_asked_for() -> None:
    body = body_of(b"abc", b"defg", b"h")
    assert [body.read(size) for size in (2, 0, 3, 9, 1)] == [b"ab", b"", b"cde", b"fgh", b""]


def test_nothing_is_received_before_it_is_asked_for() -> None:
    def receive() -> dict[str, Any]:
        raise AssertionError

    Input(receive).read(0)


@pytest.mark.parametrize(
    "chunks",
    [
        (b"one\ntwo\n\nthree",),
        (b"one\ntw", b"o\n\nth", b"ree"),
        (b"one", b"\n", b"two\n", b"\nthree"),
    ],
)
def test_lines(chunks: tuple[bytes, ...]) -> None:
    lines = [b"one\n", b"two\n", b"\n", b"three"]
    assert list(body_of(*chunks)) == lines
    assert body_of(*chunks).readlines() == lines
    assert body_of(*chunks).readlines(None) == lines
    assert body_of(*chunks).readlines(5) == lines[:2]
    body = body_of(*chunks)
    assert [body.readline() for _ in range(6)] == [*lines, b"", b""]


def test_lines_of_a_size() -> None:
    body = body_of(b"abc", b"de\nf\n")
    assert [body.readline(size) for size in (2, 2, 9, 0, 1, 1, 1)] == [
        b"ab", b"cd", b"e\n", b"", b"f", b"\n", b"",
    ]  # fmt: skip


@pytest.mark.parametrize("read", [Input.read, Input.readline, Input.readlines, next])
def test_a_client_that_leaves_is_an_os_error(read: Callable[[Input], object]) -> None:
    body = body_of(b"some", gone=True)
    for _ in range(2):
        with pytest.raises(OSError, match="the client has disconnected"):
            read(body)


def test_the_input_is_a_file_to_the_library() -> None:
    body = body_of(b'{"a":', b" 1}")
    import json

    assert json.load(body) == {"a": 1}


# ---- the response ----------------------------------------------------------------------------


class Client:
    """Keeps what is sent; leaves after ``takes`` messages of body."""

    def __init__(self, takes: int = 1000) -> None:
        self.messages: list[Any] = []
        self.hurried = False
        self._takes = takes

    def send(self, messages: tuple[Any, ...]) -> None:
        if not self._takes:
            raise ClientDisconnected
        self._takes -= 1
        self.messages += messages

    def send_last(self, messages: tuple[Any, ...], *, hurry: bool) -> None:
        self.messages += messages
        self.hurried = hurry

    @property
    def head(self) -> tuple[int, Any]:
        start = self.messages[0]
        assert start["type"] == "http.response.start"
        return start["status"], start["headers"]

    @property
    def body(self) -> list[tuple[bytes, bool]]:
        assert all(message["type"] == "http.response.body" for message in self.messages[1:])
        return [(message["body"], message["more_body"]) for message in self.messages[1:]]


def respond(app: Any, *, method: str = "GET", takes: int = 1000) -> Client:
    client = Client(takes)
    call(app, make_environ(scope_of(method=method), body_of(), MORE), client)
    return client


def refused(app: Any, message: str) -> Client:
    client = Client()
    with pytest.raises(LocalProtocolError) as caught:
        call(app, environ_of(), client)
    assert message in str(caught.value)
    return client


def app_of(*blocks: bytes, headers: list[tuple[str, str]] = PLAIN, status: str = OK) -> Any:
    """A generator, whose length nobody knows."""

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response(status, headers)
        yield from blocks

    return app


def list_of(*blocks: bytes, headers: list[tuple[str, str]] = PLAIN, status: str = OK) -> Any:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response(status, headers)
        return list(blocks)

    return app


def test_a_whole_response_is_sent_at_once() -> None:
    client = respond(list_of(b"hello"))
    assert client.head == (200, [(b"Content-Type", b"text/plain")])
    assert client.body == [(b"hello", False)]
    assert not client.hurried  # it leaves with the end of the call, which is now


def test_the_last_block_of_a_list_is_known() -> None:
    assert respond(list_of(b"a", b"", b"b")).body == [(b"a", True), (b"b", False)]
    assert respond(list_of(b"a", b"")).body == [(b"a", True), (b"", False)]


def test_of_a_generator_it_is_not() -> None:
    assert respond(app_of(b"a", b"", b"b")).body == [(b"a", True), (b"b", True), (b"", False)]


def test_but_where_the_length_was_said() -> None:
    client = respond(app_of(b"ab", b"c", b"", headers=[("Content-Length", "3")]))
    assert client.body == [(b"ab", True), (b"c", False)]
    assert client.hurried  # the application goes on


@pytest.mark.parametrize("app", [list_of(), app_of(), list_of(b""), app_of(b"", b"")])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_response_without_a_body(app: Any, method: str) -> None:
    client = respond(app, method=method)
    assert client.head[0] == 200
    assert client.body == [(b"", False)]


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified", "200", "200 ", "999 Own"])
def test_any_status(status: str) -> None:
    assert respond(list_of(status=status)).head[0] == int(status[:3])


def test_a_generator_may_start_the_response_late() -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        yield b""
        start_response(OK, PLAIN)
        yield b"a"

    assert respond(app).body == [(b"a", True), (b"", False)]


def test_each_block_is_sent_before_the_next_is_asked_for() -> None:
    client = Client()

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response(OK, PLAIN)
        assert client.messages == []
        yield b"a"
        assert client.body == [(b"a", True)]
        yield b"b"
        assert client.body == [(b"a", True), (b"b", True)]

    call(app, environ_of(), client)
    assert client.body[-1] == (b"", False)


def test_write() -> None:
    client = Client()

    def app(environ: Any, start_response: Any) -> list[bytes]:
        write = start_response(OK, PLAIN)
        assert client.messages == []
        write(b"a")
        assert client.body == [(b"a", True)]
        write(b"")
        write(b"b")
        return [b"c"]

    call(app, environ_of(), client)
    assert client.body == [(b"a", True), (b"", True), (b"b", True), (b"c", False)]


def test_a_head_request_ends_with_the_head() -> None:
    went_on = []

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response(OK, PLAIN)
        yield b"a"
        went_on.append(True)
        yield b"b"

    assert respond(app, method="HEAD").body == [(b"", False)]
    assert not went_on
    # its length is told where it is known
    assert respond(list_of(b"hello"), method="HEAD").body == [(b"hello", False)]


def test_write_for_a_head_request() -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        write = start_response(OK, PLAIN)
        write(b"a")
        write(b"b")
        return [b"c"]

    assert respond(app, method="HEAD").body == [(b"", False)]


# ---- start_response --------------------------------------------------------------------------


def failing(after: int) -> Any:
    """Fails after so many blocks, and answers that itself."""

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response(OK, PLAIN)
        try:
            for _ in range(after):
                yield b"a"
            raise ZeroDivisionError
        except ZeroDivisionError:
            start_response("500 Oh", [("Content-Length", "4")], sys.exc_info())
            yield b"oops"

    return app


def test_an_error_before_the_head_replaces_it() -> None:
    client = respond(failing(0))
    assert client.head == (500, [(b"Content-Length", b"4")])
    assert client.body == [(b"oops", False)]


def test_an_error_after_the_head_is_raised_again() -> None:
    client = Client()
    with pytest.raises(ZeroDivisionError) as caught:
        call(failing(1), environ_of(), client)
    assert client.body == [(b"a", True)]
    assert caught.traceback[-1].name == "app"


def test_starting_twice_needs_an_error() -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response(OK, PLAIN)
        start_response(OK, PLAIN)
        return []

    assert refused(app, "start_response was called again, and without exc_info").messages == []


@pytest.mark.parametrize(
    ("status", "headers", "message"),
    [
        (200, PLAIN, 'the status is a string such as "200 OK", not 200'),
        ("OK", PLAIN, "not 'OK'"),
        ("100 Continue", PLAIN, "not '100 Continue'"),
        ("200OK", PLAIN, "not '200OK'"),
        ("200 O\nK", PLAIN, "not '200 O\\nK'"),
        ("\uff12\uff10\uff10 OK", PLAIN, "the status is a string"),
        (OK, [("a", 1)], "headers are pairs of strings of Latin-1, not ('a', 1)"),
        (OK, [(b"a", b"b")], "headers are pairs of strings"),
        (OK, [("a",)], "headers are pairs of strings"),
        (OK, [("a", "\u20ac")], "headers are pairs of strings of Latin-1"),
        (OK, [("a b", "c")], "invalid header name"),
        (OK, [("a", "b\r\nc: d")], "control characters"),
        (OK, [("Content-Length", "many")], "invalid content-length"),
    ],
)
def test_what_is_wrong_is_refused_at_once(status: Any, headers: Any, message: str) -> None:
    went_on = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response(status, headers)
        went_on.append(True)
        return []

    assert refused(app, message).messages == []
    assert not went_on


@pytest.mark.parametrize(
    "name",
    ["Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "TE", "Trailers",
     "Transfer-Encoding", "Upgrade"],
)  # fmt: skip
def test_what_concerns_the_connection_is_refused(name: str) -> None:
    assert is_hop_by_hop(name)
    refused(list_of(headers=[(name, "x")]), f"the header {name!r} is not the application's")


@pytest.mark.parametrize("block", ["text", bytearray(b"a"), 5, None])
def test_a_block_that_is_not_bytes(block: Any) -> None:
    refused(list_of(block), f"the body is bytes, not {type(block).__name__}")


@pytest.mark.parametrize("blocks", [[b"a"], [], iter([b"a"])])
def test_a_body_without_a_start(blocks: Iterable[bytes]) -> None:
    refused(lambda environ, start_response: blocks, "before start_response was called")


def test_more_than_the_length_says() -> None:
    app = app_of(b"abc", b"d", headers=[("Content-Length", "3")])
    client = refused(app, "the body is longer than its content-length of 3")
    assert client.body == [(b"abc", False)]
    assert len(respond(app, method="HEAD").body) == 1


def test_more_than_that_in_one_block_is_for_the_cycle_to_judge() -> None:
    client = respond(app_of(b"abcd", headers=[("Content-Length", "3")]))
    assert client.body[0] == (b"abcd", True)


# ---- close -----------------------------------------------------------------------------------


class Blocks:
    """An iterable that knows how often it was closed."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = iter(blocks)
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        return self._blocks

    def close(self) -> None:
        self.closed += 1


def failing_blocks() -> Iterator[bytes]:
    yield b"a"
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("method", "blocks", "takes", "error"),
    [
        ("GET", [b"a", b"b"], 1000, None),
        ("GET", [], 1000, None),
        ("HEAD", [b"a", b"b"], 1000, None),
        ("GET", [b"a", b"b"], 1, ClientDisconnected),
        ("GET", failing_blocks(), 1000, ZeroDivisionError),
        ("GET", ["text"], 1000, LocalProtocolError),
    ],
)
def test_close_is_called_once(
    method: str, blocks: Any, takes: int, error: type[Exception] | None
) -> None:
    given = Blocks(blocks)

    def app(environ: Any, start_response: Any) -> Blocks:
        start_response(OK, PLAIN)
        return given

    if error is None:
        assert respond(app, method=method, takes=takes).hurried
    else:
        with pytest.raises(error):
            respond(app, method=method, takes=takes)
    assert given.closed == 1


def test_close_is_called_where_the_response_was_never_started() -> None:
    given = Blocks([b"a"])
    refused(lambda environ, start_response: given, "before start_response")
    assert given.closed == 1


def test_a_generator_sees_its_client_leave() -> None:
    seen = []

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response(OK, PLAIN)
        try:
            while True:
                yield b"a"
        finally:
            seen.append(True)

    with pytest.raises(ClientDisconnected):
        respond(app, takes=3)
    assert seen == [True]


# ---- files -----------------------------------------------------------------------------------


def test_a_file_is_sent_in_large_blocks_and_closed() -> None:
    file = io.BytesIO(b"a" * 100_000)

    def app(environ: Any, start_response: Any) -> Any:
        start_response(OK, PLAIN)
        return environ["wsgi.file_wrapper"](file, 512)

    client = respond(app)
    assert [len(block) for block, _ in client.body] == [65_536, 34_464, 0]
    assert file.closed


def test_a_file_that_cannot_be_closed() -> None:
    class Reader:
        def read(self, size: int) -> bytes:
            return b""

    wrapper = FileWrapper(Reader())
    assert list(wrapper) == []
    assert not hasattr(wrapper, "close")


# ---- the judge of the standard library -------------------------------------------------------


def reading(environ: Any, start_response: Any) -> list[bytes]:
    body = environ["wsgi.input"].read(2) + environ["wsgi.input"].readline()
    environ["wsgi.errors"].write("")
    start_response(OK, PLAIN)
    return [body]


def writing(environ: Any, start_response: Any) -> list[bytes]:
    start_response(OK, PLAIN)(b"written")
    return [b" and returned"]


@pytest.mark.parametrize("app", [reading, writing, list_of(b"a"), app_of(b"a", b"b"), list_of()])
@pytest.mark.parametrize("version", ["1.0", "1.1", "2"])
def test_the_validator_of_the_standard_library_agrees(app: Any, version: str) -> None:
    client = Client()
    scope = scope_of(
        method="POST",
        http_version=version,
        path="/shop/cart",
        root_path="/shop",
        headers=[(b"host", b"a"), (b"content-type", b"text/plain"), (b"content-length", b"9")],
    )
    call(validator(app), make_environ(scope, body_of(b"some", b"thing"), MORE), client)
    assert client.head[0] == 200
    expected = {reading: b"something", writing: b"written and returned"}
    if app in expected:
        assert b"".join(block for block, _ in client.body) == expected[app]
