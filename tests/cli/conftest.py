"""A folder with applications."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.program import (
    MODULES,
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in MODULES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path
