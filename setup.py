"""Builds what is optional, and compiled; all else is in pyproject.toml.

The extension over libnghttp2 is built where Cython, a C compiler and the headers of Python and of
libnghttp2 are (``apt-get install gcc python3-dev libnghttp2-dev``; Cython comes by itself). Elsewhere
one line says what is missing, and the server speaks HTTP/2 by the h2 library.

The modules that every request passes through (``COMPILED``) are compiled as they are by mypyc, which
takes a minute. Their sources stay beside them: where they cannot be compiled, they are what runs. An
editable installation is for those who change them, and has them as they are.

``HYPERSERVER_EXTENSIONS=0`` leaves out both, ``=1`` makes a build without them fail (for wheels),
``=all`` also, and compiles for an editable installation as well (for tests).
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

NAME = "hyperserver.protocol.h2._nghttp2"
SOURCE = "hyperserver/protocol/h2/_nghttp2.pyx"
#: What every request passes through, and nothing that awaits (see docs/architecture.md).
COMPILED = [
    "hyperserver/asgi/files.py",
    "hyperserver/asgi/http.py",
    "hyperserver/asgi/scope.py",
    "hyperserver/asgi/websocket.py",
    "hyperserver/protocol/events.py",
    "hyperserver/protocol/fields.py",
    "hyperserver/protocol/h1/chunked.py",
    "hyperserver/protocol/h1/clock.py",
    "hyperserver/protocol/h1/connection.py",
    "hyperserver/protocol/h1/head.py",
    "hyperserver/protocol/h1/head_reader.py",
    "hyperserver/protocol/h1/output.py",
    "hyperserver/protocol/h1/sized.py",
    "hyperserver/protocol/h1/wire.py",
    "hyperserver/protocol/interface.py",
    "hyperserver/protocol/layer.py",
    "hyperserver/protocol/tls.py",
    "hyperserver/protocol/websocket/connection.py",
    "hyperserver/protocol/websocket/frames.py",
    "hyperserver/protocol/websocket/websockets_engine.py",
    "hyperserver/runtime/connection.py",
    "hyperserver/runtime/stream.py",
    "hyperserver/runtime/transport_asyncio.py",
]
WANTED = os.environ.get("HYPERSERVER_EXTENSIONS", "")
OLDEST = 0x013400
#: What has to pass the preprocessor, and what is missing where it does not.
_PROBES = {
    "": "there is no C compiler (gcc)",
    "#include <Python.h>\n": "Python's headers are missing (python3-dev)",
    "#include <nghttp2/nghttp2.h>\nversion_is NGHTTP2_VERSION_NUM\n": (
        "libnghttp2's headers are missing (libnghttp2-dev)"
    ),
}
#: Functions that releases after 1.52 have brought, and distributions have taken over.
NEWER = {
    "nghttp2_option_set_stream_reset_rate_limit": "HYPERSERVER_RESET_RATE_LIMIT",
    "nghttp2_option_set_max_continuations": "HYPERSERVER_MAX_CONTINUATIONS",
    "nghttp2_option_set_glitch_rate_limit": "HYPERSERVER_GLITCH_RATE_LIMIT",
}


ENGINE = "the nghttp2 engine"
RINGS = "compiled modules"
_INSTEAD = {ENGINE: "HTTP/2 by h2", RINGS: "all from source"}


class CannotBuildError(Exception):
    """In words for whoever installs."""


def pkg_config(what: str) -> list[str]:
    """What pkg-config says of libnghttp2; nothing where there is none."""
    try:
        said = subprocess.run(
            ["pkg-config", what, "libnghttp2"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return []
    return shlex.split(said.stdout)


def go_without(what: str, reason: str) -> None:
    if WANTED in {"1", "all"}:
        sys.exit(f"error: {what} cannot be built: {reason}")
    print(f"warning: {_INSTEAD[what]}, without {what}: {reason}", file=sys.stderr)


class BuildOptional(build_ext):
    """Builds what is possible, and says in one line what is not."""

    def run(self) -> None:
        self._failed: set[str] = set()
        if WANTED == "all" or not (self.inplace or self.editable_mode):
            self._add_compiled()
        super().run()

    def build_extension(self, ext: Extension) -> None:
        what = ENGINE if ext.name == NAME else RINGS
        if what in self._failed:  # of the compiled modules, all or none
            return
        try:
            if what == ENGINE:
                self._look_around(ext)
                ext.sources = self._translated(ext)
            super().build_extension(ext)
        except Exception as error:  # noqa: BLE001 - Cython's and a compiler's are of many classes
            self._drop(what, error)

    def _drop(self, what: str, error: Exception) -> None:
        self._failed.add(what)
        failed = [ext for ext in self.extensions if (ext.name == NAME) == (what == ENGINE)]
        for ext in failed:
            Path(self.get_ext_fullpath(ext.name)).unlink(missing_ok=True)
        self.extensions = [ext for ext in self.extensions if ext not in failed]
        go_without(
            what,
            str(error)
            if isinstance(error, CannotBuildError)
            else "it does not compile; the lines above tell why",
        )

    def _add_compiled(self) -> None:
        try:
            from mypyc.build import mypycify
        except ImportError:
            go_without(RINGS, "there is no mypy (pip install mypy)")
            return
        try:
            made = mypycify(
                # What else is installed must not decide what comes out.
                ["--config-file=", "--ignore-missing-imports", "--no-site-packages", *COMPILED],
                opt_level="2",
                target_dir="build/mypyc",
                group_name="hyperserver",
            )
        except (Exception, SystemExit):  # noqa: BLE001 - it leaves by itself on what it cannot take
            go_without(RINGS, "mypyc does not take them; the lines above tell why")
            return
        self.distribution.ext_modules = [*self.extensions, *made]
        kept = {name: getattr(self, name) for name in ("build_lib", "editable_mode", "inplace")}
        self.reinitialize_command(self)  # it has looked at them already
        self.ensure_finalized()
        vars(self).update(kept)

    def _look_around(self, ext: Extension) -> None:
        """Raises CannotBuildError."""
        header = ""
        for source, missing in _PROBES.items():
            preprocessed = self._preprocess(ext, source)
            if preprocessed is None:
                raise CannotBuildError(missing)
            header = preprocessed
        if int(header.split()[-1], 16) < OLDEST:
            raise CannotBuildError("libnghttp2 is older than 1.52")
        ext.define_macros += [(macro, "1") for name, macro in NEWER.items() if name in header]

    def _preprocess(self, ext: Extension, content: str) -> str | None:
        """``content`` after the preprocessor, which finds headers as the compiler does."""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "probe.c")
            source.write_text(content, encoding="utf-8")
            result = Path(folder, "probe.i")
            try:
                self.compiler.preprocess(
                    str(source),
                    str(result),
                    include_dirs=ext.include_dirs,
                    extra_postargs=ext.extra_compile_args,
                )
            except Exception:  # noqa: BLE001
                return None
            return result.read_text(encoding="utf-8")

    def _translated(self, ext: Extension) -> list[str]:
        """The C file of the Cython file. Raises CannotBuildError."""
        try:
            from Cython.Build import cythonize
        except ImportError:
            raise CannotBuildError("there is no Cython (pip install cython)") from None
        (made,) = cythonize([Extension(NAME, [SOURCE])], build_dir="build/cython", quiet=True)
        return list(made.sources)

    def get_outputs(self) -> list[str]:
        return [output for output in super().get_outputs() if Path(output).exists()]


def extensions() -> list[Extension]:
    if WANTED == "0":
        return []
    if sys.implementation.name != "cpython":
        go_without(ENGINE, "it is for CPython")
        return []
    return [
        Extension(
            NAME,
            [SOURCE],
            extra_compile_args=["-O2", *pkg_config("--cflags")],
            extra_link_args=[*pkg_config("--libs-only-L")],
            libraries=["nghttp2"],
        )
    ]


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildOptional})
