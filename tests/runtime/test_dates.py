from __future__ import annotations

from email.utils import formatdate

from hypothesis import given
from hypothesis import strategies as st

from hyperserver.runtime.dates import http_date


def test_a_date() -> None:
    assert http_date(784_111_777.9) == b"Sun, 06 Nov 1994 08:49:37 GMT"


@given(st.integers(0, 2**33))
def test_every_date_is_that_of_the_standard_library(seconds: int) -> None:
    assert http_date(seconds).decode() == formatdate(seconds, usegmt=True)
