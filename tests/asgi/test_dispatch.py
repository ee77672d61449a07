"""Which of several applications a request is for, and what of it they see."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperserver.asgi.dispatch import Dispatcher, Mounted
from hyperserver.asgi.scope import ScopeContext, http_scope, websocket_scope
from hyperserver.protocol.events import RequestReceived


class App:
    """Notes what it is called with; nobody awaits it."""

    def __init__(self) -> None:
        self.scopes: list[Any] = []

    def __call__(self, scope: Any, receive: Any, send: Any) -> Awaitable[None]:
        self.scopes.append(scope)
        return None  # type: ignore[return-value]


class Site:
    """A dispatcher over places such as "/api" or "a.test/api", and who takes what."""

    def __init__(self, *places: str, relative: bool = True) -> None:
        self.apps = {place: App() for place in (*places, "nothing")}
        self.mounts = []
        for place in places:
            host, slash, path = place.partition("/")
            mounted = Mounted(
                self.apps[place], place, slash + path, host or None, relative=relative
            )
            self.mounts.append(mounted)
        self.dispatcher = Dispatcher(self.mounts, self.apps["nothing"])

    def ask(
        self, target: str, host: bytes = b"any.test", root_path: str = "", kind: str = "http"
    ) -> tuple[str, Any]:
        """The place that takes a request, and the scope that it sees."""
        headers = [(b"host", host)] if host else []
        raw = target.encode()
        protocol = None if kind == "http" else kind
        event = RequestReceived(1, "GET", raw, headers, "1.1", "http", host, protocol, True)
        context = ScopeContext(None, None, root_path, None)
        scope = websocket_scope(event, context, []) if protocol else http_scope(event, context)
        self.dispatcher(scope, None, None)  # type: ignore[arg-type]
        ((place, app),) = [(place, app) for place, app in self.apps.items() if app.scopes]
        return place, app.scopes.pop()


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("target", "place"),
    [
        ("/", "/"),
        ("/other", "/"),
        ("/api", "/api"),
        ("/api/", "/api"),
        ("/api/users?x=/api/v2", "/api"),
        ("/api?x", "/api"),
        ("/apix", "/"),
        ("/ap", "/"),
        ("/api/v2", "/api/v2"),
        ("/api/v2/users", "/api/v2"),
        ("/api/v20", "/api"),
        ("/%61pi/x", "/api"),
        ("/api%2Fx", "/api"),
        ("/API/x", "/"),
        ("//api/x", "/"),
        ("/api//x", "/api"),
        ("/x/../api", "/"),
        ("/api/../x", "/api"),
        ("/caf%C3%A9/x", "/café"),
        ("*", "/"),
    ],
)
def test_the_longest_path_wins(target: str, place: str, kind: str) -> None:
    site = Site("/", "/api", "/café", "/api/v2")
    taken, scope = site.ask(target, kind=kind)
    assert taken == place
    assert scope["root_path"] == place.removesuffix("/")
    assert scope["raw_path"] == target.partition("?")[0].encode()


def test_the_path_stays_whole() -> None:
    site = Site("/api")
    assert site.ask("/api/a%20b")[1]["path"] == "/api/a b"
    place, scope = site.ask("/api/x", root_path="/shop")  # as a proxy has cut it off
    assert (place, scope["root_path"], scope["path"]) == ("/api", "/shop/api", "/shop/api/x")
    place, scope = site.ask("/shop/api", root_path="/shop")
    assert (place, scope["root_path"], scope["path"]) == ("/api", "/shop/api", "/shop/api")
    place, scope = site.ask("/shop/apix", root_path="/shop")
    assert (place, scope["root_path"]) == ("nothing", "/shop")
    assert site.ask("/shop", root_path="/shop")[0] == "nothing"


def test_applications_whose_paths_are_whole() -> None:
    site = Site("/api", relative=False)
    place, scope = site.ask("/api/x", root_path="/shop")
    assert (place, scope["root_path"], scope["path"]) == ("/api", "/shop", "/shop/api/x")


def test_what_nobody_has() -> None:
    site = Site("/api")
    for target in ("/", "/apix", "*", "/ap"):
        place, scope = site.ask(target)
        assert (place, scope["root_path"]) == ("nothing", "")


@pytest.mark.parametrize(
    ("host", "target", "place"),
    [
        (b"api.test", "/x", "api.test/"),
        (b"API.test.:8443", "/x", "api.test/"),
        (b"api.test", "/v2/x", "api.test/v2"),
        (b"www.api.test", "/v2", "*.api.test/"),
        (b"a.www.api.test", "/v2", "/v2"),
        (b"one.api.test", "/x", "one.api.test/"),
        (b"other.test", "/v2", "/v2"),
        (b"other.test", "/x", "nothing"),
        (b"only.test", "/a/b", "only.test/a"),
        (b"only.test", "/v2", "/v2"),  # of that host, there is none for this path
        (b"[::1]:80", "/", "nothing"),
        (b"", "/v2", "/v2"),
    ],
)
def test_hosts_come_before_paths(host: bytes, target: str, place: str) -> None:
    places = ("/v2", "*.api.test/", "api.test/", "api.test/v2", "one.api.test/", "only.test/a")
    assert Site(*places).ask(target, host)[0] == place
    assert Site(*reversed(places)).ask(target, host)[0] == place


def test_each_has_its_own_state() -> None:
    site = Site("/", "/api", "/none")
    site.mounts[0].state, site.mounts[1].state = {"of": "/"}, {"of": "/api"}
    for _ in range(2):
        for target in ("/", "/api"):
            scope = site.ask(target)[1]
            assert scope["state"] == {"of": target}
            scope["state"]["more"] = "of one request"
    assert "state" not in site.ask("/none")[1]


@given(st.text("/ap%2F.é", max_size=12), st.sampled_from(["", "/a", "/a/p"]))
def test_a_boundary_is_never_missed(tail: str, root_path: str) -> None:
    site = Site("/a", "/a/p", "/")
    place, scope = site.ask("/" + tail.replace("é", "%C3%A9"), root_path=root_path)
    below = scope["root_path"]
    assert below == root_path + place.removesuffix("/")
    assert scope["path"] == below or scope["path"].startswith(below + "/")
