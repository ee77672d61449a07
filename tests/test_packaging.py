"""What is built, where, and what is said where it cannot be."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

import pytest

pytest.importorskip("setuptools", minversion="77", reason="builds the package")
pytest.importorskip("Cython", minversion="3.1", reason="builds the extension")

ROOT = Path(__file__).resolve().parents[1]
FILES = (
    "setup.py", "pyproject.toml", "MANIFEST.in", "README.md",
    "LICENSE", "LICENSE-libnghttp2", "LICENSE-mypyc",
)  # fmt: skip
NO_COMPILER = "there is no C compiler (gcc)"
needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """What a clone has, as far as it matters."""
    folder = tmp_path / "source"
    shutil.copytree(
        ROOT / "hyperserver",
        folder / "hyperserver",
        ignore=shutil.ignore_patterns("__pycache__", "*.so"),
    )
    for name in FILES:
        shutil.copy(ROOT / name, folder)
    return folder


def setup(source: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HYPERSERVER_")}
    return subprocess.run(
        [sys.executable, "setup.py", "--quiet", *command],
        cwd=source,
        env={**kept, **variables},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def compiler_without(word: str, folder: Path) -> str:
    """A C compiler that does not know the header which has ``word`` in its name."""
    script = folder / "cc"
    script.write_text(
        f'#!/bin/sh\nfor file; do case "$file" in *.c) grep -q {word} "$file" && exit 1;; esac; done\n'
        'exec cc "$@"\n'
    )
    script.chmod(0o755)
    return str(script)


def assert_goes_without(source: Path, reason: str, **variables: str) -> None:
    done = setup(source, "build_ext", "--inplace", **variables)
    assert done.returncode == 0, done.stderr
    assert f"warning: HTTP/2 by h2, without the nghttp2 engine: {reason}\n" in done.stderr
    assert not list(source.rglob("*.so"))
    done = setup(source, "build_ext", "--inplace", HYPERSERVER_EXTENSIONS="1", **variables)
    assert done.returncode != 0
    assert f"error: the nghttp2 engine cannot be built: {reason}\n" in done.stderr


def test_without_a_compiler(source: Path) -> None:
    assert_goes_without(source, NO_COMPILER, CC="/nonexistent/cc")


@needs_compiler
@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("Python.h", "Python's headers are missing (python3-dev)"),
        ("nghttp2.h", "libnghttp2's headers are missing (libnghttp2-dev)"),
    ],
)
def test_without_headers(source: Path, tmp_path: Path, header: str, reason: str) -> None:
    if header == "nghttp2.h" and not Path(sysconfig.get_path("include"), "Python.h").exists():
        pytest.skip("Python's headers are missing indeed, which is said first")
    assert_goes_without(source, reason, CC=compiler_without(header, tmp_path))


@pytest.mark.skipif(not list(ROOT.glob("hyperserver/protocol/h2/*.so")), reason="cannot be built")
def test_with_a_source_that_does_not_compile(source: Path) -> None:
    """Whatever Cython's release makes of it: an installation does not fail over it."""
    with (source / "hyperserver/protocol/h2/_nghttp2.pyx").open("a") as file:
        file.write("\nthis is no Cython\n")
    assert_goes_without(source, "it does not compile; the lines above tell why")


def test_left_out(source: Path) -> None:
    done = setup(source, "build_ext", "--inplace", HYPERSERVER_EXTENSIONS="0", CC="/nonexistent/cc")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_source_distribution_has_all_that_a_build_needs(source: Path) -> None:
    expected = {str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()}
    done = setup(source, "sdist", HYPERSERVER_EXTENSIONS="0")
    assert done.returncode == 0, done.stderr
    (archive,) = source.glob("dist/*.tar.gz")
    with tarfile.open(archive) as tar:
        packed = {name.partition("/")[2] for name in tar.getnames()}
    assert expected - packed == set()


def build_with_mypyc(
    source: Path, mypyc: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Build as for a wheel, with ``mypyc`` as the module ``mypyc.build``."""
    package = source.parent / "mypyc"
    package.mkdir(exist_ok=True)
    (package / "__init__.py").touch()
    (package / "build.py").write_text(mypyc)
    found = {"PYTHONPATH": str(source.parent), "CC": "/nonexistent/cc"}
    return setup(source, "build_ext", "--build-lib=lib", **{**found, **variables})


@pytest.mark.parametrize(
    ("mypyc", "reason"),
    [
        ("", "there is no mypy (pip install mypy)"),
        (
            "def mypycify(paths, **options):\n    raise SystemExit(1)\n",
            "mypyc does not take them; the lines above tell why",
        ),
        (
            """
from setuptools import Extension
def mypycify(paths, **options):
    return [Extension('hyperserver__mypyc', ['a.c']), Extension('shim', ['b.c'])]
""",
            "it does not compile; the lines above tell why",
        ),
    ],
)
def test_without_compiled_modules(source: Path, mypyc: str, reason: str) -> None:
    done = build_with_mypyc(source, mypyc)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("warning: all from source, without compiled modules: ") == 1
    assert f"without compiled modules: {reason}\n" in done.stderr
    assert not list(source.rglob("*.so"))
    done = build_with_mypyc(source, mypyc, HYPERSERVER_EXTENSIONS="1")
    assert done.returncode != 0


def test_an_editable_installation_is_not_compiled(source: Path) -> None:
    """Who changes a module wants to see the change."""
    package = source.parent / "mypyc"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('called')")
    done = setup(source, "build_ext", "--inplace", PYTHONPATH=str(source.parent))
    assert (done.returncode, "called" in done.stderr) == (0, False), done.stderr
