from __future__ import annotations

from typing import Any

import pytest

from hyperserver.asgi.scope import ScopeContext, decode_path, http_scope
from hyperserver.protocol.events import Headers, RequestReceived

CLIENT = ("192.0.2.7", 50_000)
SERVER = ("192.0.2.1", 8000)


def make(
    target: bytes = b"/",
    *,
    headers: Headers | None = None,
    version: str = "1.1",
    method: str = "GET",
    root_path: str = "",
    state: dict[str, Any] | None = None,
) -> dict[str, Any]:
    event = RequestReceived(
        stream_id=1,
        method=method,
        target=target,
        headers=headers if headers is not None else [(b"host", b"a")],
        http_version=version,
        scheme="http",
        authority=b"a",
        protocol=None,
        end_stream=True,
    )
    return http_scope(event, ScopeContext(CLIENT, SERVER, root_path, state))


def test_fields_are_those_of_the_scope_alone() -> None:
    """An engine may give several requests the same list."""
    received = [(b"host", b"a"), (b"x", b"y")]
    for _ in range(2):
        headers = make(headers=received)["headers"]
        assert headers == received
        headers.clear()
    assert len(received) == 2


def test_the_whole_scope() -> None:
    assert make(b"/p%20q?x=%20&y", headers=[(b"host", b"a"), (b"x", b"\xff")]) == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/p q",
        "raw_path": b"/p%20q",
        "query_string": b"x=%20&y",
        "root_path": "",
        "headers": [(b"host", b"a"), (b"x", b"\xff")],
        "client": CLIENT,
        "server": SERVER,
        "extensions": {
            "http.response.early_hint": {},
            "http.response.pathsend": {},
            "http.response.trailers": {},
        },
    }


@pytest.mark.parametrize("version", ["1.0", "1.1", "2"])
def test_the_extension_of_a_connection_with_tls(version: str) -> None:
    event = RequestReceived(1, "GET", b"/", [], version, "https", b"a", None, True)
    value = {"tls_version": 0x0304, "client_cert_chain": ["a"]}
    asked = iter([value])
    context = ScopeContext(CLIENT, SERVER, "", None, lambda: next(asked))
    first, second = (http_scope(event, context)["extensions"]["tls"] for _ in range(2))
    assert first == second == value
    assert first is not second
    assert first["client_cert_chain"] is not second["client_cert_chain"]


def test_it_is_a_plain_dict_with_plain_values() -> None:
    scope = make()
    assert type(scope) is dict
    assert {key: type(value) for key, value in scope.items()} == {
        "type": str, "asgi": dict, "http_version": str, "method": str, "scheme": str,
        "path": str, "raw_path": bytes, "query_string": bytes, "root_path": str,
        "headers": list, "client": tuple, "server": tuple, "extensions": dict,
    }  # fmt: skip


def test_two_requests_of_a_connection_share_no_container() -> None:
    context = ScopeContext(CLIENT, SERVER, "", {"pool": object()})

    def scope() -> dict[str, Any]:
        event = RequestReceived(1, "GET", b"/", [(b"host", b"a")], "1.1", "http", b"a", None, True)
        return http_scope(event, context)

    first, second = scope(), scope()
    for key in ("asgi", "extensions", "headers", "state"):
        assert first[key] == second[key]
        assert first[key] is not second[key]
    for extension in first["extensions"]:
        assert first["extensions"][extension] is not second["extensions"][extension]
    context.rest()
    assert scope() == second


def test_http_1_0_is_offered_nothing_but_files() -> None:
    """It knows neither interim responses nor chunks."""
    assert make(version="1.0")["extensions"] == {"http.response.pathsend": {}}


@pytest.mark.parametrize("zero_copy", [True, False])
@pytest.mark.parametrize("version", ["1.0", "1.1", "2"])
def test_zero_copy_is_offered_where_the_socket_takes_files(version: str, zero_copy: bool) -> None:
    event = RequestReceived(1, "GET", b"/", [], version, "http", b"a", None, True)
    context = ScopeContext(CLIENT, SERVER, "", None)
    context.zero_copy = zero_copy
    offered = "http.response.zerocopysend" in http_scope(event, context)["extensions"]
    assert offered is (zero_copy and version != "2")


@pytest.mark.parametrize(
    ("version", "stream_id", "can_push", "offered"),
    [("2", 1, True, True), ("2", 1, False, False), ("2", 2, True, False), ("1.1", 1, True, False)],
)
def test_push_is_offered_on_streams_of_clients_who_take_it(
    version: str, stream_id: int, can_push: bool, offered: bool
) -> None:
    event = RequestReceived(stream_id, "GET", b"/", [], version, "http", b"a", None, True)
    context = ScopeContext(CLIENT, SERVER, "", None)
    scope = http_scope(event, context, can_push)
    assert ("http.response.push" in scope["extensions"]) is offered
    assert context.offered_push is offered


@pytest.mark.parametrize(
    ("target", "path", "raw_path", "query_string"),
    [
        (b"/", "/", b"/", b""),
        (b"/?", "/", b"/", b""),
        (b"/a?b", "/a", b"/a", b"b"),
        (b"/a?b?c=%3F", "/a", b"/a", b"b?c=%3F"),
        (b"/a%3Fb", "/a?b", b"/a%3Fb", b""),
        (b"/a%2Fb", "/a/b", b"/a%2Fb", b""),
        (b"//a/../b/.", "//a/../b/.", b"//a/../b/.", b""),
        (b"/%00", "/\0", b"/%00", b""),
        (b"/%e2%82%ac", "/€", b"/%e2%82%ac", b""),
        (b"/%E2%82", "/\ufffd", b"/%E2%82", b""),
        (b"/%ff/%fe", "/\ufffd/\ufffd", b"/%ff/%fe", b""),
        (b"/100%", "/100%", b"/100%", b""),
        (b"/%zz", "/%zz", b"/%zz", b""),
        (b"/a+b", "/a+b", b"/a+b", b""),
        (b"*", "*", b"*", b""),
    ],
)
def test_the_target_is_split_and_only_the_path_is_decoded(
    target: bytes, path: str, raw_path: bytes, query_string: bytes
) -> None:
    scope = make(target)
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == (
        path,
        raw_path,
        query_string,
    )


def test_a_path_without_escapes_is_decoded_alike() -> None:
    assert decode_path(b"/plain") == "/plain"
    assert decode_path(b"/caf\xc3\xa9") == "/café"


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/shop/cart", "/shop/cart"),  # a proxy that keeps the prefix
        (b"/cart", "/shop/cart"),  # a proxy that strips it
        (b"/", "/shop/"),
        (b"/shop", "/shop"),
        (b"/shop/", "/shop/"),
        (b"/shopping", "/shop/shopping"),  # another name that only begins alike
    ],
)
def test_path_begins_with_the_root_path_exactly_once(target: bytes, path: str) -> None:
    scope = make(target, root_path="/shop")
    assert (scope["path"], scope["root_path"], scope["raw_path"]) == (path, "/shop", target)


def test_the_asterisk_is_no_path_and_gets_no_prefix() -> None:
    assert make(b"*", method="OPTIONS", root_path="/shop")["path"] == "*"


def test_the_state_is_a_shallow_copy_per_request() -> None:
    pool = object()
    state = {"pool": pool}
    first = make(state=state)
    second = make(state=state)
    assert first["state"]["pool"] is pool
    first["state"]["mine"] = 1
    assert second["state"] == {"pool": pool}
    assert state == {"pool": pool}


def test_an_empty_state_is_there_and_a_missing_lifespan_is_told_by_its_absence() -> None:
    assert make(state={})["state"] == {}
    assert "state" not in make(state=None)


def test_what_an_application_makes_of_the_fields_is_not_what_the_server_reads() -> None:
    headers = [(b"te", b"trailers")]
    event = RequestReceived(1, "GET", b"/", headers, "1.1", "http", b"a", None, True)
    scope = http_scope(event, ScopeContext(CLIENT, SERVER, "", None))
    scope["headers"][:] = [None, 5]
    assert event.headers == [(b"te", b"trailers")]


def test_the_method_is_passed_as_it_is() -> None:
    assert make(method="PURGE")["method"] == "PURGE"


def test_a_unix_socket_has_no_client_and_a_path_for_a_server() -> None:
    event = RequestReceived(1, "GET", b"/", [(b"host", b"a")], "1.1", "http", b"a", None, True)
    scope = http_scope(event, ScopeContext(None, ("/run/a.sock", None), "", None))
    assert (scope["client"], scope["server"]) == (None, ("/run/a.sock", None))
