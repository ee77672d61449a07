from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hyperserver.errors import AppError
from hyperserver.runtime.load import load_app

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
