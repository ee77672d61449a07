from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment
from wsgiref.types import WSGIApplication as TheirWSGIApplication
from wsgiref.validate import validator

import pytest

from hyperserver.asgi.styles import Style, choose, recognise, single
from hyperserver.asgi.types import Application

Any3 = Callable[..., Any]


# ---- applications of every kind --------------------------------------------------------------


async def three(scope: Any, receive: Any, send: Any) -> None: ...


def returns_three(scope: Any, receive: Any, send: Any) -> Any:
    return three(scope, receive, send)


def double(scope: Any) -> Any:
    async def call(receive: Any, send: Any) -> None: ...

    return call


def wsgi(environ: Any, start_response: Any) -> Any: ...


def wsgi_generator(environ: Any, start_response: Any) -> Iterator[bytes]:
    yield b""


class Three:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...

    async def method(self, scope: Any, receive: Any, send: Any) -> None: ...

    @staticmethod
    async def static(scope: Any, receive: Any, send: Any) -> None: ...

    @classmethod
    async def of_class(cls, scope: Any, receive: Any, send: Any) -> None: ...

    def wsgi(self, environ: Any, start_response: Any) -> Any: ...

    @staticmethod
    def static_wsgi(environ: Any, start_response: Any) -> Any: ...

    @classmethod
    def wsgi_of_class(cls, environ: Any, start_response: Any) -> Any: ...

    def double(self, scope: Any) -> Any: ...


class Double:
    def __init__(self, scope: Any) -> None: ...

    async def __call__(self, receive: Any, send: Any) -> None: ...


class Inherits(Double): ...


class Configured(Double):
    def __init__(self, scope: Any, debug: bool = False) -> None: ...


class DoubleObject:
    def __call__(self, scope: Any) -> Any: ...


class WSGIObject:
    def __call__(self, environ: Any, start_response: Any) -> Any: ...


class WSGIClass:
    """As PEP 3333 shows one."""

    def __init__(self, environ: Any, start_response: Any) -> None: ...

    def __iter__(self) -> Iterator[bytes]:
        yield b""


class Endpoint:
    def __init__(self, scope: Any, receive: Any, send: Any) -> None: ...

    def __await__(self) -> Iterator[None]:
        yield


class NoApplication:
    def __init__(self, scope: Any) -> None: ...


def decorated(app: Any3) -> Any:
    @functools.wraps(app)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return app(*args, **kwargs)

    return wrapper


def exact(app: Any) -> Any:
    """A decorator that takes other arguments than what it decorates."""

    @functools.wraps(app)
    async def wrapper(scope: Any, receive: Any, send: Any) -> None: ...

    return wrapper


def marked(app: Any, **marks: object) -> Any:
    app = types.FunctionType(app.__code__, app.__globals__)
    for name, value in marks.items():
        setattr(app, name, value)
    return app


def four(settings: Any, *rest: Any) -> Any: ...


async def three_after(settings: Any, scope: Any, receive: Any, send: Any) -> None: ...


def wsgi_after(settings: Any, environ: Any, start_response: Any) -> Any: ...


def double_after(settings: Any, scope: Any) -> Any: ...


def dual(scope: Any, receive: Any = None, send: Any = None) -> Any: ...


def optional(environ: Any = None, start_response: Any = None) -> Any: ...


def anything(*args: Any) -> Any: ...


def nothing() -> Any: ...


def with_keyword(environ: Any, start_response: Any, *, settings: Any) -> Any: ...


async def asynchronous_double(scope: Any) -> None: ...


async def generates(environ: Any, start_response: Any) -> Any:
    yield b""


class Opaque:
    """As a compiled function that does not tell its arguments."""

    __signature__ = "unknown"

    def __call__(self, *args: Any) -> Any: ...


def decorator_of(module: str) -> Any:
    """What ``@Request.application`` and the like make of a function with one argument."""
    names: dict[str, Any] = {"__name__": module, "functools": functools}
    exec(  # its globals are what tells
        "def decorate(f):\n"
        "    @functools.wraps(f)\n"
        "    def application(*args): ...\n"
        "    return application\n",
        names,
    )

    def view(request: Any) -> Any: ...

    return names["decorate"](view)


CERTAIN = [
    ("asgi3", three),
    ("asgi3", returns_three),
    ("asgi3", Three()),
    ("asgi3", Three().method),
    ("asgi3", Three().static),
    ("asgi3", Three.static),
    ("asgi3", Three.of_class),
    ("asgi3", Endpoint),
    ("asgi3", decorated(three)),
    ("asgi3", functools.partial(three)),
    ("asgi3", functools.partial(three_after, {})),
    ("asgi3", functools.partial(functools.partial(three_after), {})),
    ("asgi3", exact(nothing)),
    ("asgi3", marked(anything, _asgi_single_callable=True)),
    ("asgi3", marked(anything, _is_coroutine=object())),
    ("asgi2", double),
    ("asgi2", Double),
    ("asgi2", Inherits),
    ("asgi2", Configured),
    ("asgi2", DoubleObject()),
    ("asgi2", Three().double),
    ("asgi2", functools.partial(double_after, {})),
    ("asgi2", marked(anything, _asgi_double_callable=True)),
    ("asgi2", decorated(double)),
    ("wsgi", wsgi),
    ("wsgi", wsgi_generator),
    ("wsgi", WSGIObject()),
    ("wsgi", WSGIClass),
    ("wsgi", Three().wsgi),
    ("wsgi", Three.static_wsgi),
    ("wsgi", Three.wsgi_of_class),
    ("wsgi", lambda environ, start_response: []),
    ("wsgi", functools.partial(wsgi_after, {})),
    ("wsgi", decorated(wsgi)),
    ("wsgi", decorator_of("werkzeug.wrappers.request")),
    ("wsgi", validator(wsgi)),
]


@pytest.mark.parametrize(("interface", "app"), CERTAIN)
def test_an_application_is_recognised(interface: str, app: object) -> None:
    assert recognise(app) == Style(interface, certain=True)
    assert choose(app, "auto") == Style(interface, certain=True)
    assert choose(app, interface) == Style(interface, certain=True)


@pytest.mark.parametrize(
    ("interface", "app"),
    [
        ("asgi3", anything),
        ("asgi3", dual),
        ("asgi3", Opaque()),
        ("asgi2", decorator_of("shop")),
        ("wsgi", optional),
        ("asgi2", lambda scope, extra=None: None),
        ("wsgi", lambda environ, extra=None: None),
        ("wsgi", lambda first=None, second=None: None),
    ],
)
def test_one_that_is_only_likely_is_said_to_be(interface: str, app: object) -> None:
    assert recognise(app) == Style(interface, certain=False)


@pytest.mark.parametrize(
    ("app", "reason"),
    [
        (nothing, "takes no arguments; is it a factory? then add --factory"),
        (four, None),
        (three_after, "is async and takes 4 arguments, and ASGI 3 calls it with 3"),
        (asynchronous_double, "is async and takes 1 argument, and ASGI 3 calls it with 3"),
        (Double({}), "is async and takes 2 arguments, and ASGI 3 calls it with 3"),
        (lambda a, b, c, d: None, "takes 4 arguments; ASGI 3 calls it with 3, ASGI 2 with 1, WSGI"),
        (lambda a, b, c, d, e=1: None, "takes 4 to 5 arguments; "),
        (lambda a, b, c, d, *e: None, "takes at least 4 arguments; "),
        (Three, "is a class, not an instance; is it a factory? then add --factory"),
        (NoApplication, "is a class, and its instances are no applications"),
        (with_keyword, "needs the keyword 'settings', which no interface gives"),
        (generates, "is an async generator, which is no application"),
    ],
)
def test_what_is_no_application_is_told_why(app: object, reason: str | None) -> None:
    if reason is None:
        assert recognise(app) == Style("asgi3", certain=False)
        return
    with pytest.raises(ValueError) as caught:
        recognise(app)
    assert str(caught.value).startswith(reason)


@pytest.mark.parametrize("interface", ["auto", "asgi3", "asgi2", "wsgi"])
def test_what_cannot_be_called_is_no_application(interface: str) -> None:
    with pytest.raises(ValueError, match="is not callable"):
        choose(5, interface)


@pytest.mark.parametrize(
    ("interface", "app", "reason"),
    [
        ("wsgi", three, "is async, which WSGI does not know"),
        ("wsgi", Three(), "is async, which WSGI does not know"),
        ("wsgi", double, "takes 1 argument, and WSGI calls it with 2"),
        ("asgi2", three, "is async, which ASGI 2 does not know"),
        ("asgi2", wsgi, "takes 2 arguments, and ASGI 2 calls it with 1"),
        ("asgi3", wsgi, "takes 2 arguments, and ASGI 3 calls it with 3"),
        ("asgi3", double, "takes 1 argument, and ASGI 3 calls it with 3"),
        ("asgi3", Double, "takes 1 argument, and ASGI 3 calls it with 3"),
        ("asgi3", nothing, "takes no arguments, and ASGI 3 calls it with 3"),
    ],
)
def test_an_interface_that_cannot_be_is_refused(interface: str, app: object, reason: str) -> None:
    with pytest.raises(ValueError) as caught:
        choose(app, interface)
    assert str(caught.value) == reason


@pytest.mark.parametrize("interface", ["asgi3", "asgi2", "wsgi"])
@pytest.mark.parametrize("app", [anything, decorated(anything), decorated(double), Opaque()])
def test_where_one_cannot_tell_the_setting_decides(app: object, interface: str) -> None:
    assert choose(app, interface) == Style(interface, certain=True)


@pytest.mark.parametrize(("module", "name"), [("flask", "Flask"), ("quart", "Quart")])
def test_frameworks_are_recognised(module: str, name: str) -> None:
    made = getattr(pytest.importorskip(module), name)(module)
    assert recognise(made) == Style("wsgi" if module == "flask" else "asgi3")


def test_public_types_take_applications_of_every_style() -> None:
    """What mypy checks; here it is enough that these are values."""

    def by_the_library(
        environ: WSGIEnvironment, start_response: StartResponse, /
    ) -> Iterable[bytes]:
        return []

    theirs: TheirWSGIApplication = by_the_library
    applications: list[Application] = [three, double, by_the_library, theirs, WSGIObject()]
    assert len(applications) == 5


def test_a_style_reads_as_it_is_called() -> None:
    assert [str(Style(interface)) for interface in ("asgi3", "asgi2", "wsgi")] == [
        "ASGI 3",
        "ASGI 2",
        "WSGI",
    ]


# ---- ASGI 2 as ASGI 3 ------------------------------------------------------------------------


def run(coroutine: Any) -> None:
    with pytest.raises(StopIteration):
        coroutine.send(None)


@pytest.mark.parametrize("shape", ["function", "class"])
def test_a_double_callable_is_called_twice(shape: str) -> None:
    called: list[Any] = []

    def function(scope: Any) -> Any:
        called.append(scope)

        async def call(receive: Any, send: Any) -> None:
            called.append((receive, send))

        return call

    class Class:
        def __init__(self, scope: Any) -> None:
            called.append(scope)

        async def __call__(self, receive: Any, send: Any) -> None:
            called.append((receive, send))

    given = {"type": "http", "asgi": {"version": "3.0", "spec_version": "2.5"}}
    app: Any = function if shape == "function" else Class
    ends: Any = ("receive", "send")
    run(single(app)(given, *ends))
    assert called == [given, ("receive", "send")]
    assert given["asgi"] == {"version": "3.0", "spec_version": "2.5"}


def test_the_detection_of_asgiref_agrees() -> None:
    compatibility = pytest.importorskip("asgiref.compatibility")
    for interface, app in CERTAIN:
        if interface == "asgi2" and "_asgi_double_callable" not in vars_of(app):
            assert compatibility.is_double_callable(app)
        if interface == "asgi3" and app in (three, Three().method):
            assert not compatibility.is_double_callable(app)


def vars_of(app: object) -> dict[str, Any]:
    return getattr(app, "__dict__", {})
