"""What the documentation shows as configuration is one."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from hyperserver.config import from_mapping

DOCS = Path(__file__).resolve().parent.parent / "docs"
BLOCKS = re.findall(
    r"(?ms)^```toml\n(.*?)^```$", (DOCS / "operating.md").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("text", BLOCKS, ids=lambda text: text.split()[0])
def test_examples_are_right(text: str) -> None:
    from_mapping(tomllib.loads(text))


def test_there_are_some() -> None:
    assert len(BLOCKS) >= 5
