"""What cibuildwheel asks of every wheel: that it is compiled, that libnghttp2 is in it and in use, and the
licences of both.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import files
from pathlib import Path

from hyperserver.protocol.negotiate import choose_engines
from hyperserver.runtime.worker import is_compiled

_SCRIPT = Path(__file__).with_name("nghttp2")


def main() -> None:
    (version,) = re.findall("^version=(.+)$", _SCRIPT.read_text(encoding="utf-8"), re.MULTILINE)
    engines = choose_engines(http2="nghttp2").load()
    if f"HTTP/2 by nghttp2 {version}," not in engines:
        sys.exit(f"error: not libnghttp2 {version}: {engines}")
    installed = files("hyperserver") or []
    for licence in ("LICENSE-libnghttp2", "LICENSE-mypyc"):
        if not any(file.name == licence for file in installed):
            sys.exit(f"error: {licence} is missing")
    if not is_compiled():
        sys.exit("error: nothing is compiled")
    bundled = [
        file.locate() for file in installed if re.match(r"libnghttp2\b.*\.(so|dylib)", file.name)
    ]
    if not bundled:
        sys.exit("error: libnghttp2 is not in the wheel")
    maps = Path("/proc/self/maps")
    if maps.exists() and str(Path(str(bundled[0])).resolve()) not in maps.read_text(
        encoding="utf-8"
    ):
        sys.exit(f"error: {bundled[0]} is not what was loaded")
    print(engines)


if __name__ == "__main__":
    main()
