"""Both HTTP/2 engines are fed the same bytes, and applications must be told the same.

    make fuzz [ARGS=-max_total_time=SECONDS]
    python -m tests.fuzz.http2 [options of libFuzzer] [FOLDER …]

Atheris chooses the bytes by the coverage that they reach; Hypothesis makes of them what
``test_http2_differential.py`` is made of, which is nearly always worth more than the bytes themselves.
What was worth keeping is kept in the first FOLDER. On a difference it is shown as a Python call that
fails, for a test; the bytes are in a file called ``crash-…``, which as an argument does it again.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["hyperserver", "h2", "hpack"]):
    from tests.engines.h2_peer import HTTP2_ENGINES, Peer
    from tests.engines.test_http2_differential import APPLICATIONS, assert_engines_agree
    from tests.engines.test_http2_robustness import QUICK, anything, cut, places

    for engine in HTTP2_ENGINES:  # which are imported when they are needed
        Peer(engine)

from collections.abc import Sequence
from random import Random

from hypothesis import given
from hypothesis import strategies as st

#: Bytes that Hypothesis makes the longest sessions of.
_ENOUGH = 8192


@QUICK
@given(
    application=st.sampled_from(sorted(APPLICATIONS)),
    octets=anything,
    at=places,
    eof=st.booleans(),
)
def agree(application: str, octets: bytes, at: Sequence[int], eof: bool) -> None:
    assert_engines_agree(application, cut(octets, at), eof)


def fuzz(chosen: bytes) -> None:
    """Of a choice that is too short Hypothesis would make nothing, so it goes on by itself."""
    chosen += Random(chosen[:2]).randbytes(_ENOUGH)
    agree.hypothesis.fuzz_one_input(chosen)  # type: ignore[attr-defined]


def main() -> None:
    if len(HTTP2_ENGINES) < 2:
        sys.exit("error: the nghttp2 engine was not built, so there is nothing to compare")
    atheris.Setup([sys.argv[0], "-len_control=0", f"-max_len={_ENOUGH}", *sys.argv[1:]], fuzz)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
