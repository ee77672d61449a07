"""What cibuildwheel asks of every wheel: that libnghttp2 and its licence are in it, and in use."""

from __future__ import annotations

import re
import sys
from importlib.metadata import files
from pathlib import Path

from hyperserver.protocol.negotiate import choose_engines

_SCRIPT = Path(__file__).with_name("nghttp2")


def main() -> None:
    (version,) = re.findall("^version=(.+)$", _SCRIPT.read_text(encoding="utf-8"), re.MULTILINE)
    engines = choose_engines(http2="nghttp2").load()
    if f"HTTP/2 by nghttp2 {version}," not in engines:
        sys.exit(f"error: not libnghttp2 {version}: {engines}")
    installed = files("hyperserver") or []
    if not any(file.name == "LICENSE-libnghttp2" for file in installed):
        sys.exit("error: libnghttp2's licence is missing")
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
