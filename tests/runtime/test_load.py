from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hyperserver.config import schema
from hyperserver.config.schema import Config
from hyperserver.errors import AppError
from hyperserver.runtime.load import adapt, load_app, style_of
from hyperserver.runtime.wsgi import WSGI

SHOP = """
async def app(scope, receive, send): ...

class Application:
    async def __call__(self, scope, receive, send): ...

instance = Application()
number = 5

def create(): return app
def broken(): raise ValueError("no settings")
def creates_nothing(): return None
"""


@pytest.fixture(autouse=True)
def fresh_imports() -> Iterator[None]:
    """Every test imports for itself."""
    path, modules = sys.path[:], set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    def write(name: str, text: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")

    write("shop.py", SHOP)
    write("package/__init__.py", "")
    write("package/asgi.py", SHOP)
    write("package/broken.py", "from package import not_there\n")
    write("raising.py", "1 / 0\n")
    write("exiting.py", "raise SystemExit(0)\n")
    write("missing.py", "import shop_that_is_not_there.sub\n")
    return tmp_path


def load(project: Path, target: str, *, factory: bool = False) -> Any:
    return load_app(target, str(project), factory=factory)


@pytest.mark.parametrize("target", ["shop:app", "shop:instance", "package.asgi:app"])
def test_an_application_is_found(project: Path, target: str) -> None:
    module, _, attribute = target.partition(":")
    assert load(project, target) is getattr(sys.modules[module], attribute)


def test_an_attribute_may_be_nested(project: Path) -> None:
    assert callable(load(project, "shop:instance.__call__"))


def test_a_factory_is_called(project: Path) -> None:
    assert load(project, "shop:create", factory=True) is sys.modules["shop"].app


def test_the_directory_comes_first_on_the_path_and_only_once(project: Path) -> None:
    load(project, "shop:app")
    load(project, "shop:instance")
    assert sys.path[0] == str(project)
    assert sys.path.count(str(project)) == 1


def test_the_directory_may_be_relative(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    load_app("asgi:app", "package")
    assert sys.path[0] == str(project / "package")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("shop", "cannot load 'shop': write it as \"package.module:attribute\""),
        ("", "cannot load '': write it as"),
        (":", "cannot load ':': write it as"),
        ("shop:", "cannot load 'shop:': write it as"),
        (":app", "cannot load ':app': write it as"),
        ("shopping:app", "no module named 'shopping' in "),
        ("nowhere.asgi:app", "no module named 'nowhere' in "),
        ("package.wsgi:app", "no module named 'package.wsgi' in "),
        ("shop/app:app", "no module named 'shop/app' in "),
        ("shop:ap", "cannot load 'shop:ap': 'shop' has no attribute 'ap'"),
        ("shop:app.more", "'shop' has no attribute 'app.more'"),
        ("shop:number", "int object is not callable; is it a factory? then add --factory"),
    ],
)
def test_what_is_wrong_is_one_line(project: Path, target: str, message: str) -> None:
    with pytest.raises(AppError) as caught:
        load(project, target)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_module_names_where_it_was_sought(project: Path) -> None:
    with pytest.raises(AppError, match="use --app-dir") as caught:
        load(project, "shopping:app")
    assert str(project) in str(caught.value)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("shop:number", "cannot load 'shop:number': the factory is not callable"),
        ("shop:creates_nothing", "NoneType object is not callable"),
    ],
)
def test_what_is_wrong_with_a_factory(project: Path, target: str, message: str) -> None:
    with pytest.raises(AppError) as caught:
        load(project, target, factory=True)
    assert str(caught.value).endswith(message)


@pytest.mark.parametrize(
    ("target", "last"),
    [
        ("raising:app", "ZeroDivisionError: division by zero"),
        ("exiting:app", "SystemExit: 0"),
        ("missing:app", "ModuleNotFoundError: No module named 'shop_that_is_not_there'"),
        ("package.broken:app", "ImportError: cannot import name 'not_there' from 'package'"),
    ],
)
def test_a_module_that_raises_shows_its_own_traceback(
    project: Path, target: str, last: str
) -> None:
    with pytest.raises(AppError) as caught:
        load(project, target)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"importing {target.partition(':')[0]!r} failed:"
    assert lines[2].startswith(f'  File "{project}')
    assert lines[-1].startswith(last)


def test_a_factory_that_raises_shows_its_own_traceback(project: Path) -> None:
    with pytest.raises(AppError) as caught:
        load(project, "shop:broken", factory=True)
    lines = str(caught.value).splitlines()
    assert lines[0] == "the factory 'shop:broken' failed:"
    assert lines[2].startswith(f'  File "{project / "shop.py"}"')
    assert lines[-1] == "ValueError: no settings"


# ---- styles ----------------------------------------------------------------------------------


async def asgi3(scope: Any, receive: Any, send: Any) -> None: ...


def asgi2(scope: Any) -> Any: ...


def wsgi(environ: Any, start_response: Any) -> Any: ...


def anything(*args: Any) -> Any: ...


class Opaque:
    def __call__(self) -> None: ...


def test_an_asgi_application_is_served_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "hyperserver"):
        assert adapt(asgi3, Config()) is asgi3
        assert adapt(asgi3, Config(interface="asgi3")) is asgi3
    assert not caplog.records


@pytest.mark.parametrize(
    ("app", "config", "line"),
    [
        (asgi2, Config(), "serving asgi2 as ASGI 2"),
        (asgi2, Config(interface="asgi2"), "serving asgi2 as ASGI 2"),
        (wsgi, Config(), "serving wsgi as WSGI, in up to 40 threads"),
        (wsgi, Config(app="shop:app", wsgi=schema.WSGI(threads=3)),
         "serving 'shop:app' as WSGI, in up to 3 threads"),
        (anything, Config(interface="wsgi"), "serving anything as WSGI, in up to 40 threads"),
        (anything, Config(),
         ("cannot tell the interface of anything, serving it as ASGI 3; `interface` makes it "
          "certain")),
    ],
)  # fmt: skip
def test_another_interface_is_named_in_the_log(
    app: Any, config: Config, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "hyperserver"):
        adapt(app, config)
    assert [record.getMessage() for record in caplog.records] == [line]


def test_what_was_adapted_is_adapted_no_more() -> None:
    served = adapt(wsgi, Config())
    assert isinstance(served, WSGI)
    assert adapt(served, Config()) is served
    assert adapt(adapt(asgi2, Config()), Config()) is not None


@pytest.mark.parametrize(
    ("app", "config", "message"),
    [
        (asgi3, Config(interface="wsgi"),
         ('cannot serve asgi3: it is async, which WSGI does not know; `interface` = "wsgi" is not '
          "for it")),
        (wsgi, Config(interface="asgi3", app="shop:app"),
         ("cannot serve 'shop:app': it takes 2 arguments, and ASGI 3 calls it with 3; "
          '`interface` = "asgi3" is not for it')),
        (Opaque(), Config(),
         ("cannot serve the Opaque object: it takes no arguments; is it a factory? then add "
          "--factory")),
        (wsgi, Config(lifespan="on"),
         ("cannot serve wsgi: it is a WSGI application, which has no lifespan; "
          '`lifespan` = "on" is not for it')),
    ],
)  # fmt: skip
def test_what_cannot_be_served_is_one_line(app: Any, config: Config, message: str) -> None:
    for find in (style_of, adapt):
        with pytest.raises(AppError) as caught:
            find(app, config)
        assert str(caught.value) == message
