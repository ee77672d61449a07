"""Builds the optional extension over libnghttp2; all else is in pyproject.toml.

It is built where Cython, a C compiler and the headers of Python and of libnghttp2 are
(``apt-get install gcc python3-dev libnghttp2-dev``; Cython comes by itself). Elsewhere one line says
what is missing, and the server speaks HTTP/2 by the h2 library.
``HYPERSERVER_EXTENSIONS=0`` leaves it out, ``=1`` makes a build without it fail (for wheels).
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


def go_without(reason: str) -> None:
    if WANTED == "1":
        sys.exit(f"error: the nghttp2 engine cannot be built: {reason}")
    print(f"warning: HTTP/2 by h2, without the nghttp2 engine: {reason}", file=sys.stderr)


class BuildOptional(build_ext):
    """Builds the extension if that is possible, and says so in one line if it is not."""

    def run(self) -> None:
        try:
            super().run()
        except Exception as error:  # noqa: BLE001 - whatever a compiler may raise
            self._drop(error)

    def build_extension(self, ext: Extension) -> None:
        try:
            self._look_around(ext)
            ext.sources = self._translated(ext)
            super().build_extension(ext)
        except Exception as error:  # noqa: BLE001 - Cython's and a compiler's are of many classes
            self._drop(error)

    def _drop(self, error: Exception) -> None:
        self.extensions = []
        go_without(
            str(error)
            if isinstance(error, CannotBuildError)
            else "it does not compile; the lines above tell why"
        )

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
        go_without("it is for CPython")
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
