"""Bars as SVG, by hand: a picture that can be read on light and on dark pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH = 760
_LABEL = 210  # pixels for the names
_VALUE = 90  # pixels for the figures
_ROW = 22
_BAR = 15
_TOP = 44
_BOTTOM = 10

_STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #24292f; }
  .title { font-weight: 600; font-size: 13px; }
  .note { fill: #57606a; }
  .ours { fill: #0969da; }
  .peer { fill: #8c959f; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .note { fill: #8d96a0; }
    .ours { fill: #4493f8; }
    .peer { fill: #656c76; }
  }
"""


@dataclass(frozen=True, slots=True)
class Bar:
    """One line of the picture; a ``value`` of None has only its ``text``, a reason."""

    label: str
    value: float | None
    text: str
    is_ours: bool


def bars(title: str, note: str, rows: Sequence[Bar]) -> str:
    """An SVG document: a bar for each of ``rows``, the longest as long as there is room."""
    longest = max((row.value for row in rows if row.value is not None), default=0.0) or 1.0
    height = _TOP + _ROW * len(rows) + _BOTTOM
    described = "; ".join(f"{row.label}: {row.text}" for row in rows)
    return "\n".join(
        [
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
                f'width="{_WIDTH}" height="{height}" role="img" aria-label="{_attribute(title)}">'
            ),
            f"<desc>{escape(described)}</desc>",
            f"<style>{_STYLE}</style>",
            f'<text class="title" x="0" y="15">{escape(title)}</text>',
            f'<text class="note" x="0" y="33">{escape(note)}</text>',
            *(line for index, row in enumerate(rows) for line in _row(index, row, longest)),
            "</svg>",
            "",
        ]
    )


def _row(index: int, row: Bar, longest: float) -> list[str]:
    top = _TOP + index * _ROW
    baseline = top + _BAR - 3
    label = f'<text x="{_LABEL - 8}" y="{baseline}" text-anchor="end">{escape(row.label)}</text>'
    if row.value is None:
        said = f'<text class="note" x="{_LABEL}" y="{baseline}">{escape(_short(row.text))}</text>'
        return [label, said]
    width = max(1.0, row.value / longest * (_WIDTH - _LABEL - _VALUE))
    kind = "ours" if row.is_ours else "peer"
    return [
        label,
        f'<rect class="{kind}" x="{_LABEL}" y="{top}" width="{width:.1f}" height="{_BAR}" rx="2"/>',
        f'<text x="{_LABEL + width + 6:.1f}" y="{baseline}">{escape(row.text)}</text>',
    ]


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:79] + "…"


def _attribute(text: str) -> str:
    return escape(text, quote=True)
