"""Golden files: what a program shall print, letter by letter.

``UPDATE_GOLDEN=1 make test ARGS="-k golden"`` writes them anew; read the difference before it is
committed.
"""

from __future__ import annotations

import os
from pathlib import Path


def assert_golden(path: Path, text: str) -> None:
    """``text`` is what stands in the file at ``path``."""
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert path.exists(), f"no {path}; write it with UPDATE_GOLDEN=1"
    assert text == path.read_text(encoding="utf-8")
