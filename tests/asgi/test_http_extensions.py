"""Trailers and early hints, on a recording engine."""

from __future__ import annotations

from typing import Any

import pytest

from hyperserver.errors import LocalProtocolError
from hyperserver.protocol.events import Headers
from tests.asgi.http_cycle import (
    body,
    make,
    request,
    start,
    trailers,
)

# ---- trailers ----------------------------------------------------------------------------------

TE = [(b"te", b"trailers")]


@pytest.mark.parametrize(
    "te", [b"trailers", b"Trailers", b"gzip;q=0.5, TRAILERS", b"trailers ,deflate"]
)
def test_trailers_are_sent_to_a_client_that_takes_them(te: bytes) -> None:
    cycle, engine = make(headers=[(b"te", te)])
    cycle.take(start(200, [], trailers=True))
    cycle.take(body(b"x"))
    assert engine.take() == [("headers", 200, [], False), ("data", b"x", False)]
    assert not cycle.complete
    assert cycle.next_message() == request(b"")
    cycle.take(trailers([(b"X-Sum", b"1")]))
    assert engine.take() == [("trailers", [(b"x-sum", b"1")])]
    assert cycle.complete
    assert cycle.finish(failed=False) is True


@pytest.mark.parametrize("headers", [[], [(b"te", b"gzip")], [(b"te", b"x-trailers")]])
def test_without_te_trailers_the_response_ends_normally(headers: Headers) -> None:
    cycle, engine = make(headers=headers)
    cycle.take(start(200, [], trailers=True))
    cycle.take(body(b"x"))
    engine.take()
    cycle.take(trailers([(b"x-sum", b"1")]))
    assert engine.take() == [("trailers", [])]
    assert cycle.complete


def test_more_trailers_gathers_them() -> None:
    cycle, engine = make(headers=TE)
    cycle.take(start(200, [], trailers=True))
    cycle.take(body(b"x"))
    engine.take()
    cycle.take(trailers([(b"a", b"1")], more_trailers=True))
    assert engine.take() == []
    cycle.take(trailers([(b"b", b"2")]))
    assert engine.take() == [("trailers", [(b"a", b"1"), (b"b", b"2")])]


def test_trailers_that_were_not_announced_are_refused() -> None:
    cycle, _ = make(headers=TE)
    cycle.take(start())
    cycle.take(body(b"x", more_body=True))
    with pytest.raises(LocalProtocolError, match="trailers: True"):
        cycle.take(trailers([(b"a", b"1")]))
    cycle.take(body())
    assert cycle.complete


def test_trailers_before_the_last_body_are_refused() -> None:
    cycle, _ = make(headers=TE)
    cycle.take(start(200, [], trailers=True))
    cycle.take(body(b"x", more_body=True))
    with pytest.raises(LocalProtocolError, match="last body"):
        cycle.take(trailers())


def test_a_body_after_the_last_one_is_refused() -> None:
    cycle, engine = make(headers=TE)
    cycle.take(start(200, [], trailers=True))
    cycle.take(body(b"x"))
    engine.take()
    with pytest.raises(LocalProtocolError, match="after the last one"):
        cycle.take(body(b"y"))
    assert engine.take() == []


@pytest.mark.parametrize(
    "name", [b":status", b"content-length", b"Transfer-Encoding", b"host", b"te", b"trailer",
             b"connection", b"authorization", b"set-cookie", b"content-type", b"date"]
)  # fmt: skip
def test_a_field_that_may_not_stand_in_trailers_is_refused(name: bytes) -> None:
    cycle, engine = make(headers=TE)
    cycle.take(start(200, [], trailers=True))
    cycle.take(body(b"x"))
    engine.take()
    with pytest.raises(LocalProtocolError):
        cycle.take(trailers([(name, b"1")]))
    assert engine.take() == []
    cycle.take(trailers([(b"x-sum", b"1")]))
    assert cycle.complete


def test_an_application_that_omits_the_promised_trailers_is_reset() -> None:
    cycle, engine = make(headers=TE)
    cycle.take(start(200, [], trailers=True))
    cycle.take(body(b"x"))
    engine.take()
    assert cycle.finish(failed=False) is False
    assert engine.take() == [("reset", "application error")]


def test_the_length_is_checked_with_trailers_too() -> None:
    cycle, engine = make(headers=TE)
    cycle.take(start(200, [(b"content-length", b"5")], trailers=True))
    with pytest.raises(LocalProtocolError, match="shorter"):
        cycle.take(body(b"x"))
    assert engine.take() == []


# ---- early hints -------------------------------------------------------------------------------


def hint(*links: Any) -> dict[str, Any]:
    return {"type": "http.response.early_hint", "links": links}


@pytest.mark.parametrize("held", [False, True])
def test_early_hints_come_before_the_head_with_a_line_per_link(held: bool) -> None:
    cycle, engine = make()
    if held:
        cycle.take(start())
    assert cycle.take(hint(b"</a>; rel=preload", b"</b>")) is True
    assert cycle.take(hint(b"</c>")) is True
    assert engine.take() == [
        ("informational", 103, [(b"link", b"</a>; rel=preload"), (b"link", b"</b>")]),
        ("informational", 103, [(b"link", b"</c>")]),
    ]


def test_early_hints_after_the_head_are_too_late_and_ignored() -> None:
    cycle, engine = make()
    cycle.take(start())
    cycle.take(body(b"x", more_body=True))
    engine.take()
    cycle.take(hint(b"</a>"))
    assert engine.take() == []


def test_early_hints_without_links_are_not_sent() -> None:
    cycle, engine = make()
    cycle.take(hint())
    cycle.take({"type": "http.response.early_hint"})
    assert engine.take() == []


@pytest.mark.parametrize("link", ["</a>", b"</a>\r\nx: y", 5])
def test_early_hints_cannot_inject_anything(link: object) -> None:
    cycle, engine = make()
    with pytest.raises(LocalProtocolError):
        cycle.take(hint(link))
    assert engine.take() == []
