"""Which engine serves a connection."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec

import pytest

from hyperserver.errors import ConfigError
from hyperserver.protocol.events import ProtocolSwitched, RequestReceived
from hyperserver.protocol.h2.frames import PREFACE, SETTINGS, build
from hyperserver.protocol.interface import ByteConnection, HTTP2Options, Limits, ResponseDefaults
from hyperserver.protocol.negotiate import (
    HTTP1_ENGINES,
    HTTP2_ENGINES,
    Negotiator,
    choose_engines,
    open_http1,
)

NGHTTP2 = "hyperserver.protocol.h2._nghttp2"
#: An engine that is optional may not have been built.
BUILT = [name for name in HTTP2_ENGINES if name != "nghttp2" or find_spec(NGHTTP2) is not None]


@pytest.mark.parametrize("name", HTTP1_ENGINES)
def test_an_engine_is_chosen_by_name(name: str) -> None:
    engines = choose_engines(name)
    assert engines.http1_name == name
    assert engines.http1_version[0].isdigit()


def test_auto_prefers_the_fast_engine() -> None:
    assert choose_engines().http1_name == choose_engines("auto").http1_name == "httptools"
    assert choose_engines().websocket_name == "websockets"


def test_auto_takes_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "websockets", None)
    assert choose_engines().websocket_name == "wsproto"


def test_engines_that_may_not_be_needed_are_imported_when_they_are() -> None:
    code = (
        "import sys\nfrom hyperserver.protocol.negotiate import choose_engines\n"
        "engines = choose_engines('auto', 'h2')\n"
        "print('h2' in sys.modules, 'websockets' in sys.modules)\n"
        "print(engines.load())\nprint('h2' in sys.modules, 'websockets' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}, text=True,
        capture_output=True, check=True,
    )  # fmt: skip
    before, names, after = done.stdout.splitlines()
    assert (before, after) == ("False False", "True True")
    assert re.fullmatch(
        r"HTTP/1\.1 by \w+ \d\S*, HTTP/2 by h2 \d\S*, WebSocket by \w+ \d\S*", names
    )


@pytest.mark.parametrize("name", ["nonesuch", "", "Httptools"])
def test_an_engine_that_is_not_there_is_the_users_to_mend(name: str) -> None:
    with pytest.raises(ConfigError, match=r"http1\.engine"):
        choose_engines(name)


def test_an_engine_whose_library_is_missing_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "httptools", None)
    monkeypatch.delitem(sys.modules, "hyperserver.protocol.h1.httptools_engine", raising=False)
    with pytest.raises(ConfigError, match="pip install httptools"):
        choose_engines("httptools")


@pytest.mark.parametrize("name", HTTP1_ENGINES)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_connection_begins_at_the_given_time(name: str, scheme: str) -> None:
    limits = Limits(request_head_timeout=7)
    connection = open_http1(choose_engines(name), limits, ResponseDefaults(), scheme, 100.0)
    assert connection.next_timeout() == 107.0
    connection.receive_data(b"GET https://a/ HTTP/1.0\r\n\r\n", 100.0)
    (received,) = connection.events()
    assert received.scheme == scheme  # type: ignore[union-attr] # of the transport, not the target


# ---- ways to HTTP/2 -----------------------------------------------------------------------

HELLO = PREFACE + build(SETTINGS, 0, 0, b"")


def negotiator(
    *, protocols: tuple[str, ...] = ("h2", "http/1.1"), upgrade: bool = False
) -> Negotiator:
    return Negotiator(
        choose_engines(),
        Limits(),
        HTTP2Options(),
        ResponseDefaults(),
        protocols=protocols,
        upgrade=upgrade,
    )


def successor(connection: ByteConnection) -> ByteConnection:
    (switched,) = connection.events()
    assert isinstance(switched, ProtocolSwitched)
    assert not switched.layered
    return switched.connection


@pytest.mark.parametrize("name", BUILT)
def test_an_http2_engine_is_chosen_by_name(name: str) -> None:
    assert choose_engines("auto", name).http2_name == name


def test_an_engine_that_was_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """``auto`` goes without it; who asks for it is told how to get it."""
    monkeypatch.setitem(sys.modules, NGHTTP2, None)
    monkeypatch.delitem(sys.modules, "hyperserver.protocol.h2.nghttp2_engine", raising=False)
    engines = choose_engines()
    assert engines.http2_name == "h2"
    assert [(each.name, each.is_broken) for each in engines.passed_over] == [("nghttp2", False)]
    with pytest.raises(ConfigError, match=r"libnghttp2-dev"):
        choose_engines("auto", "nghttp2")


def test_an_engine_whose_library_has_gone(broken_nghttp2: str) -> None:
    """The extension is there, what it is linked to is not: as if it had not been built, but told."""
    engines = choose_engines()
    assert engines.http2_name == "h2"
    (passed_over,) = engines.passed_over
    assert (passed_over.name, passed_over.is_broken) == ("nghttp2", True)
    assert passed_over.reason.startswith(broken_nghttp2)
    with pytest.raises(ConfigError, match=r"cannot be imported \(.*libnghttp2-dev"):
        choose_engines("auto", "nghttp2")


@pytest.mark.skipif("nghttp2" not in BUILT, reason="it was not built")
def test_to_look_for_an_extension_is_not_to_import_it() -> None:
    code = (
        "import sys\nfrom hyperserver.protocol.negotiate import choose_engines\n"
        "engines = choose_engines('auto', 'nghttp2')\nprint('h2' in sys.modules, "
        f"{NGHTTP2!r} in sys.modules)\nprint(engines.load(), {NGHTTP2!r} in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}, text=True,
        capture_output=True, check=True,
    )  # fmt: skip
    before, after = done.stdout.splitlines()
    assert before == "False False"
    assert "HTTP/2 by nghttp2 1." in after
    assert after.endswith(" True")


def test_an_http2_engine_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match=r"http2\.engine"):
        choose_engines("auto", "nonesuch")


@pytest.mark.parametrize("size", [1, 7, 18, 19, 24, 1000])
def test_a_preface_on_a_cleartext_connection(size: int) -> None:
    connection = negotiator().open_cleartext(0.0)
    rest = HELLO
    while rest and not connection.event_queue:
        connection.receive_data(rest[:size], 1.0)
        rest = rest[size:]
    engine = successor(connection)
    assert connection.data_to_send() == b""
    assert connection.next_timeout() is None
    while rest:
        engine.receive_data(rest[:size], 1.0)
        rest = rest[size:]
    assert engine.http_version == "2"
    assert engine.data_to_send()[3] == SETTINGS
    assert not engine.output_finished


def test_a_partial_preface_is_timed() -> None:
    connection = negotiator().open_cleartext(0.0)
    connection.receive_data(PREFACE[:10], 5.0)
    connection.handle_timeout(5.0 + Limits().request_head_timeout)
    assert connection.output_finished


@pytest.mark.parametrize(
    "before", [b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", b"PRI * HTTP/2.0\r\nhost: a\r\n\r\n"]
)
def test_a_preface_that_is_not_the_first_thing_is_none(before: bytes) -> None:
    connection = negotiator().open_cleartext(0.0)
    connection.receive_data(before + HELLO, 1.0)
    for event in connection.events():
        assert not isinstance(event, ProtocolSwitched)
        if isinstance(event, RequestReceived):
            connection.send_response(event.stream_id, 204, [], b"")
    assert b" 505 " in connection.data_to_send()


def test_no_http2_where_it_is_not_spoken() -> None:
    connection = negotiator(protocols=("http/1.1",)).open_cleartext(0.0)
    connection.receive_data(HELLO, 1.0)
    assert b" 505 " in connection.data_to_send()


def test_http2_alone() -> None:
    for connection in (
        negotiator(protocols=("h2",)).open_cleartext(0.0),
        negotiator(protocols=("h2",)).open_tls(None, 0.0),
    ):
        connection.receive_data(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", 1.0)
        assert connection.data_to_send()[3] == SETTINGS
        assert connection.output_finished


@pytest.mark.parametrize(("alpn", "version"), [("h2", "2"), ("http/1.1", "1.1"), (None, "1.1")])
def test_alpn_chooses(alpn: str | None, version: str) -> None:
    assert negotiator().open_tls(alpn, 0.0).http_version == version


def test_a_line_that_is_no_request_gets_no_answer() -> None:
    connection = negotiator().open_cleartext(0.0)
    connection.receive_data(b"INVALID CONNECTION PREFACE\r\n\r\n", 1.0)
    assert connection.data_to_send() == b""
    assert connection.is_closed


H2C = (
    b"GET /first HTTP/1.1\r\nhost: a\r\nconnection: Upgrade, HTTP2-Settings\r\n"
    b"upgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n"
)


def test_an_upgrade_to_h2c() -> None:
    connection = negotiator(upgrade=True).open_cleartext(0.0)
    connection.receive_data(H2C, 1.0)
    assert connection.data_to_send().startswith(b"HTTP/1.1 101 ")
    engine = successor(connection)
    (request,) = engine.events()
    assert isinstance(request, RequestReceived)
    assert (request.stream_id, request.target, request.http_version) == (1, b"/first", "2")
    assert request.end_stream
    assert not engine.can_push  # as its HTTP2-Settings say
    engine.send_response(1, 200, [], b"over HTTP/2")
    assert not engine.data_to_send().endswith(
        b"over HTTP/2"
    )  # until the client has taken over, too
    engine.receive_data(HELLO, 1.0)
    assert engine.data_to_send().endswith(b"over HTTP/2")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"AAMAAABkAAQAoAAAAAIAAAAA", b"AAM"),  # no whole setting
        (b"AAMAAABkAAQAoAAAAAIAAAAA", b"\xff"),
        (b"AAMAAABkAAQAoAAAAAIAAAAA", b"AAIAAAAC"),  # ENABLE_PUSH: 2
        (b"upgrade: h2c", b"upgrade: h3c"),
        (b", HTTP2-Settings", b""),
        (b"http2-settings:", b"http2-settings: AAAA\r\nhttp2-settings:"),
        (b"HTTP/1.1", b"HTTP/1.0"),
    ],
)
def test_an_upgrade_that_is_ignored(old: bytes, new: bytes) -> None:
    connection = negotiator(upgrade=True).open_cleartext(0.0)
    connection.receive_data(H2C.replace(old, new), 1.0)
    (request,) = connection.events()
    assert isinstance(request, RequestReceived)
    assert request.http_version in {"1.0", "1.1"}
    connection.send_response(1, 200, [], b"stays")
    assert b"stays" in connection.data_to_send()


def test_no_upgrade_with_a_body_or_where_it_is_off() -> None:
    posted = H2C.replace(b"\r\n\r\n", b"\r\ncontent-length: 2\r\n\r\nok")
    for connection, data in (
        (negotiator(upgrade=True).open_cleartext(0.0), posted),
        (negotiator().open_cleartext(0.0), H2C),
        (negotiator(upgrade=True, protocols=("http/1.1",)).open_cleartext(0.0), H2C),
    ):
        connection.receive_data(data, 1.0)
        assert isinstance(connection.events()[0], RequestReceived)
