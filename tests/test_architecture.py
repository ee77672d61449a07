"""The rings, checked on the syntax tree: ``protocol <- asgi <- runtime <- cli``, never back."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "hyperserver"
FILES = sorted(PACKAGE.rglob("*.py"))
MAX_LINES = 640  # "about 600": a file much longer has more than one reason to change

#: What each folder (or single module) may import from hyperserver, itself apart. An entry allows
#: the module and all that is below it; the bare package stands for ``__version__`` only.
ALLOWED: dict[str, tuple[str, ...]] = {
    "__init__": ("config", "runtime", "errors"),
    "__main__": ("cli",),
    "errors": (),
    "protocol": ("errors",),
    "asgi": (
        "errors",
        "protocol.events",
        "protocol.interface",
        "protocol.response_fields",
        "protocol.fields",
        "protocol.hosts",
        "protocol.websocket",
    ),
    "config": ("errors",),
    "observe": ("errors", "config", "asgi", "protocol.events"),
    "runtime": ("", "errors", "protocol", "asgi", "config", "observe"),
    "cli": ("", "errors", "config", "observe", "runtime"),
}

#: Anything that waits, tells the time, opens sockets or files, or logs. Rings 1 and 2 are pure.
IMPURE = frozenset(
    (
        "anyio",
        "asyncio",
        "concurrent",
        "contextvars",
        "datetime",
        "io",
        "logging",
        "multiprocessing",
        "os",
        "pathlib",
        "sched",
        "select",
        "selectors",
        "signal",
        "sniffio",
        "socket",
        "socketserver",
        "ssl",
        "subprocess",
        "threading",
        "time",
        "tomllib",
        "trio",
        "uvloop",
    )
)

#: The only libraries that ring 1 may build on; ring 2 builds on none.
PROTOCOL_LIBRARIES = frozenset(
    ("h11", "httptools", "h2", "hpack", "hyperframe", "priority", "websockets", "wsproto")
)

# A module ending so is an engine: nobody but negotiate.py may name it.
ENGINE_SUFFIX = "_engine"


def module_name(path: Path) -> str:
    """``protocol.h1.wire`` for hyperserver/protocol/h1/wire.py; ``protocol`` for its package."""
    parts = list(path.relative_to(PACKAGE).with_suffix("").parts)
    if len(parts) > 1 and parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts)


def is_module(dotted: str) -> bool:
    path = ROOT.joinpath(*dotted.split("."))
    return path.with_suffix(".py").is_file() or path.is_dir()


def imports(tree: ast.AST) -> list[tuple[int, str]]:
    """Every imported module, wherever in the file: also lazily and under TYPE_CHECKING."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute"
            assert node.module is not None
            for alias in node.names:
                dotted = f"{node.module}.{alias.name}"
                ours = node.module.partition(".")[0] == "hyperserver"
                found.append((node.lineno, dotted if ours and is_module(dotted) else node.module))
    return found


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def folder_of(name: str) -> str:
    return name.partition(".")[0]


def problems(path: Path, tree: ast.Module) -> list[str]:
    """Every import in ``path`` that its ring may not have."""
    name = module_name(path)
    folder = folder_of(name)
    if folder not in ALLOWED:
        return [f"{name}: {folder} is not part of the plan; add it to ALLOWED with its reasons"]
    found: list[str] = []
    for line, imported in imports(tree):
        top, _, ours = imported.partition(".")
        if top == "hyperserver":
            if not may_import(folder, ours):
                found.append(f"{name}:{line}: {folder} must not import {imported}")
        elif folder in {"protocol", "asgi", "errors"} and not is_pure(folder, name, top):
            found.append(f"{name}:{line}: {folder} must not import {imported}")
    return found


def may_import(folder: str, ours: str) -> bool:
    if folder not in {"__init__", "__main__"} and folder_of(ours) == folder:
        return True
    return any(
        ours == allowed or (allowed != "" and ours.startswith(allowed + "."))
        for allowed in ALLOWED[folder]
    )


def is_pure(folder: str, name: str, top: str) -> bool:
    if top == "ssl":
        return name == "protocol.tls"
    if top in sys.stdlib_module_names:
        return top not in IMPURE
    return folder == "protocol" and top in PROTOCOL_LIBRARIES


def engine_modules() -> set[str]:
    """Modules that are engines: ``<library>_engine`` within a protocol's folder."""
    return {module_name(path) for path in FILES if path.stem.endswith(ENGINE_SUFFIX)}


@pytest.fixture(params=FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def path(request: pytest.FixtureRequest) -> Path:
    value = request.param
    assert isinstance(value, Path)
    return value


def test_imports_point_inwards(path: Path) -> None:
    assert problems(path, parse(path)) == []


def test_only_runtime_awaits(path: Path) -> None:
    if folder_of(module_name(path)) == "runtime":
        return
    asynchronous = (ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await)
    assert [node.lineno for node in ast.walk(parse(path)) if isinstance(node, asynchronous)] == []


def test_engines_are_named_by_negotiate_alone(path: Path) -> None:
    """This also says that engines never import each other."""
    name = module_name(path)
    if name == "protocol.negotiate":
        return
    engines = engine_modules()
    assert engines, "the naming rule of engine modules has changed: mend this test"
    imported = {module.removeprefix("hyperserver.") for _, module in imports(parse(path))}
    assert imported.isdisjoint(engines)


def test_files_stay_small(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MAX_LINES, f"{lines} lines: split it"


@pytest.mark.parametrize(
    ("module", "source", "wrong"),
    [
        ("protocol/x.py", "import asyncio", True),
        ("protocol/x.py", "def f():\n    from time import monotonic", True),
        ("protocol/x.py", "import h11, re", False),
        ("protocol/x.py", "import requests", True),
        ("protocol/x.py", "import ssl", True),
        ("protocol/tls.py", "import ssl", False),
        ("protocol/x.py", "from hyperserver.asgi import http", True),
        ("protocol/x.py", "from hyperserver import errors", False),
        ("protocol/x.py", "from hyperserver import __version__", True),
        ("asgi/x.py", "from hyperserver.protocol import events, fields", False),
        ("asgi/x.py", "from hyperserver.protocol import negotiate", True),
        ("asgi/x.py", "from hyperserver.protocol.h1 import wire", True),
        ("asgi/x.py", "import h11", True),
        ("asgi/x.py", "import anyio", True),
        ("asgi/x.py", "import hyperserver.runtime.serve", True),
        ("config/x.py", "from hyperserver.observe import logs", True),
        ("runtime/x.py", "import anyio, socket, hyperserver.observe.logs", False),
        ("runtime/x.py", "from hyperserver.cli import main", True),
        ("cli.py", "from hyperserver.runtime.serve import run", False),
        ("stray/x.py", "", True),
    ],
)
def test_the_check_itself(module: str, source: str, wrong: bool) -> None:
    assert bool(problems(PACKAGE / module, ast.parse(source))) is wrong
