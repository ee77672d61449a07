"""Which interface an application has, by what it is and how it can be called.

ASGI 3 calls it with scope, receive and send; ASGI 2 with the scope, and what that returns with the
other two; WSGI with environ and start_response. A coroutine function can only be ASGI 3. Any other
callable is told by how many positional arguments it must have: three, one or two.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, cast

from hyperserver.asgi.types import ASGI2Application, ASGIApplication, Receive, Scope, Send

#: Interfaces by the names that they have in the configuration, with those they have in sentences.
INTERFACES = {"asgi3": "ASGI 3", "asgi2": "ASGI 2", "wsgi": "WSGI"}
_ARGUMENTS = {"asgi3": 3, "asgi2": 1, "wsgi": 2}
#: What everybody calls the first argument.
_NAMES = ("scope", "environ")
#: Libraries whose decorators make WSGI applications of functions with other arguments.
_WSGI_DECORATORS = ("webob", "werkzeug", "wsgiref")


class Style(NamedTuple):
    """``interface`` is a key of INTERFACES; ``certain`` is false where it is no more than likely."""

    interface: str
    certain: bool = True

    def __str__(self) -> str:
        return INTERFACES[self.interface]


class _Arguments(NamedTuple):
    """Positional arguments that a callable must and may have, and the name of the first."""

    least: int
    most: int
    first: str

    def take(self, number: int) -> bool:
        return self.least <= number <= self.most

    def __str__(self) -> str:
        if self.most == sys.maxsize:
            return f"at least {self.least} arguments" if self.least else "any arguments"
        if self.least != self.most:
            return f"{self.least} to {self.most} arguments"
        return f"{self.least or 'no'} argument{'s' * (self.least != 1)}"


def choose(app: object, interface: str) -> Style:
    """The style to serve ``app`` in: ``interface``, or what ``app`` looks like for ``auto``.

    Raises ValueError with the reason, a clause about ``app``, where it cannot be served so.
    """
    if not callable(app):
        raise ValueError("is not callable")
    if interface == "auto":
        return recognise(app)
    style = Style(interface)
    if is_async(app) and interface != "asgi3":
        raise ValueError(f"is async, which {style} does not know")
    arguments = _arguments(app)
    number = _ARGUMENTS[interface]
    if arguments is not None and not arguments.take(number):
        raise ValueError(f"takes {arguments}, and {style} calls it with {number}")
    return style


def recognise(app: object) -> Style:
    """The style that ``app`` looks like.

    Raises ValueError, like ``choose``, where it looks like none.
    """
    # Marks that asgiref has taught applications to wear.
    if getattr(app, "_asgi_single_callable", None) is True:
        return Style("asgi3")
    if getattr(app, "_asgi_double_callable", None) is True:
        return Style("asgi2")
    arguments = _arguments(app)
    is_guess = False
    if arguments is not None and arguments.most == sys.maxsize:
        # A decorator, perhaps, which may hand on what it gets, and may not.
        arguments = _arguments(app, follow_wrapped=True)
        is_guess = arguments is not None and arguments.first not in _NAMES
    if inspect.isclass(app):
        return _style_of_class(app, arguments)
    if is_async(app):
        if arguments is None or arguments.take(3):
            return Style("asgi3")
        raise ValueError(f"is async and takes {arguments}, and ASGI 3 calls it with 3")
    if inspect.isasyncgenfunction(app):
        raise ValueError("is an async generator, which is no application")
    if _library(app) in _WSGI_DECORATORS:
        return Style("wsgi")
    if arguments is None:
        return Style("asgi3", certain=False)
    style = _style_of_arguments(arguments)
    return style._replace(certain=False) if is_guess else style


def _style_of_class(app: type, arguments: _Arguments | None) -> Style:
    """Of one whose constructor is called as the application."""
    if hasattr(app, "__await__"):
        return Style("asgi3")
    called = any("__call__" in vars(base) for base in app.__mro__)
    if arguments is not None and arguments.take(2) and hasattr(app, "__iter__") and not called:
        return Style("wsgi")
    if called and (arguments is None or arguments.take(1)):
        return Style("asgi2")
    if called and arguments is not None and arguments.least == 0:
        raise ValueError("is a class, not an instance; is it a factory? then add --factory")
    raise ValueError("is a class, and its instances are no applications")


def _style_of_arguments(arguments: _Arguments) -> Style:
    """Of a callable that is not async itself; an ASGI 3 application may return what another does."""
    least, most, first = arguments
    if most == 0:
        raise ValueError("takes no arguments; is it a factory? then add --factory")
    if least > 3:
        raise ValueError(f"takes {arguments}; ASGI 3 calls it with 3, ASGI 2 with 1, WSGI with 2")
    if least == 3:
        return Style("asgi3")
    if least == 2:
        return Style("wsgi")
    if least == most:
        return Style("asgi2")
    if first == "environ":
        return Style("wsgi", certain=False)
    if most >= 3:
        return Style("asgi3", certain=False)
    return Style("asgi2" if least == 1 else "wsgi", certain=False)


def is_async(app: object) -> bool:
    """Whether calling ``app`` gives a coroutine, as far as one can see without calling it."""
    if inspect.isclass(app):
        return False
    return _is_async(app) or _is_async(getattr(app, "__call__", None))  # noqa: B004 - what it is


def _is_async(function: object) -> bool:
    while isinstance(function, partial):
        function = function.func
    if inspect.iscoroutinefunction(function):
        return True
    # Compiled functions, and others before Python 3.12, are marked by asyncio's plain object().
    return type(getattr(function, "_is_coroutine", None)) is object


def _library(app: object) -> str:
    """The package of the code that is called; ``functools.wraps`` hides that of a function."""
    module = getattr(app, "__globals__", {}).get("__name__") or type(app).__module__
    return str(module).partition(".")[0]


def _arguments(app: object, *, follow_wrapped: bool = False) -> _Arguments | None:
    """None where nothing is known of them, as of some compiled functions. Raises ValueError."""
    try:
        signature = inspect.signature(
            cast("Callable[..., Any]", app), follow_wrapped=follow_wrapped
        )
    except (TypeError, ValueError):
        return None
    least = most = 0
    first = ""
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            most = sys.maxsize
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            first = first or parameter.name
            most += most != sys.maxsize
            least += parameter.default is parameter.empty
        elif parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty:
            raise ValueError(f"needs the keyword {parameter.name!r}, which no interface gives")
    return _Arguments(least, most, first)


def single(app: ASGI2Application) -> ASGIApplication:
    """``app``, which is an ASGI 2 application, as one of ASGI 3.

    Its scope is that of any other, also in the version, which is what the server implements (ASGI,
    "Connection Scope"): not what the application was written for.
    """

    def call(scope: Scope, receive: Receive, send: Send) -> Any:
        return app(scope)(receive, send)

    return call
