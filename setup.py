"""Builds the optional extension over libnghttp2; all else is in pyproject.toml.

It is built where a C compiler and libnghttp2's headers are (``apt-get install gcc libnghttp2-dev``).
Elsewhere one line says so, and the server speaks HTTP/2 by the h2 library.
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
_PROBE = "#include <nghttp2/nghttp2.h>\nversion_is NGHTTP2_VERSION_NUM\n"
#: Functions that releases after 1.52 have brought, and distributions have taken over.
NEWER = {
    "nghttp2_option_set_stream_reset_rate_limit": "HYPERSERVER_RESET_RATE_LIMIT",
    "nghttp2_option_set_max_continuations": "HYPERSERVER_MAX_CONTINUATIONS",
    "nghttp2_option_set_glitch_rate_limit": "HYPERSERVER_GLITCH_RATE_LIMIT",
}


def pkg_config(what: str) -> list[str]:
    """What pkg-config says of libnghttp2; nothing where there is none."""
    try:
        said = subprocess.run(
            ["pkg-config", what, "libnghttp2"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return []
    return shlex.split(said.stdout)


class BuildOptional(build_ext):
    """Builds the extension if that is possible, and says so in one line if it is not."""

    def run(self) -> None:
        try:
            super().run()
        except Exception as error:  # noqa: BLE001 - whatever a compiler may raise
            self._go_without(str(error))

    def build_extension(self, ext: Extension) -> None:
        header = self._preprocess(ext)
        if header is None:
            self._go_without("no C compiler, or no nghttp2/nghttp2.h (libnghttp2-dev)")
            return
        version = int(header.split()[-1], 16)
        if version < OLDEST:
            self._go_without("libnghttp2 is older than 1.52")
            return
        ext.define_macros += [(macro, "1") for name, macro in NEWER.items() if name in header]
        try:
            super().build_extension(ext)
        except Exception as error:  # noqa: BLE001
            self._go_without(str(error))

    def _preprocess(self, ext: Extension) -> str | None:
        """libnghttp2's header as the compiler finds it."""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "header.c")
            source.write_text(_PROBE, encoding="utf-8")
            result = Path(folder, "header.i")
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

    def _go_without(self, reason: str) -> None:
        if WANTED == "1":
            sys.exit(f"error: the nghttp2 engine cannot be built: {reason}")
        self.extensions = []
        print(f"warning: HTTP/2 by h2, without the nghttp2 engine: {reason}", file=sys.stderr)

    def get_outputs(self) -> list[str]:
        return [output for output in super().get_outputs() if Path(output).exists()]


def extensions() -> list[Extension]:
    if WANTED == "0" or sys.implementation.name != "cpython":
        return []
    try:
        from Cython.Build import cythonize
    except ImportError:
        return []
    return cythonize(
        [
            Extension(
                NAME,
                [SOURCE],
                extra_compile_args=["-O2", *pkg_config("--cflags")],
                extra_link_args=[*pkg_config("--libs-only-L")],
                libraries=["nghttp2"],
            )
        ],
        build_dir="build/cython",
        quiet=True,
    )


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildOptional})
