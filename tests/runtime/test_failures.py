from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from hyperserver.runtime.failures import stand_in, with_tracebacks

Sent = list[dict[str, Any]]
BROWSER = [(b"accept", b"text/html,application/xhtml+xml,*/*;q=0.8")]


def call(app: Any, kind: str = "http", headers: Any = (), received: Any = ()) -> Sent:
    sent: Sent = []
    messages = [*received]

    async def receive() -> dict[str, Any]:
        return dict(messages.pop(0))

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app({"type": kind, "headers": headers}, receive, send))
    return sent


def response(sent: Sent) -> tuple[int, str, str]:
    """Status, content type and text."""
    start, body = sent
    headers = dict(start["headers"])
    assert headers[b"content-length"] == b"%d" % len(body["body"])
    return start["status"], headers[b"content-type"].decode(), body["body"].decode()


# ---- tracebacks --------------------------------------------------------------------------------


async def fails(scope: Any, receive: Any, send: Any) -> None:
    raise ValueError("<on purpose>")


async def fails_before_the_body(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    raise ValueError("<on purpose>")


async def fails_within(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"a", "more_body": True})
    raise ValueError("<on purpose>")


def failing(app: Any, headers: Any = ()) -> Sent:
    sent: Sent = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def main() -> None:
        with pytest.raises(ValueError, match="<on purpose>"):
            await with_tracebacks(app)({"type": "http", "headers": headers}, None, send)

    asyncio.run(main())
    return sent


@pytest.mark.parametrize("app", [fails, fails_before_the_body])
def test_a_traceback_for_a_500(app: Any) -> None:
    status, kind, text = response(failing(app))
    assert (status, kind) == (500, "text/plain; charset=utf-8")
    assert "ValueError: <on purpose>" in text
    assert "test_failures.py" in text


def test_a_browser_gets_a_page_that_runs_nothing() -> None:
    status, kind, text = response(failing(fails, BROWSER))
    assert (status, kind) == (500, "text/html; charset=utf-8")
    assert "ValueError: &lt;on purpose&gt;" in text
    assert "<on purpose>" not in text


def test_a_response_that_was_begun_is_left_as_it_is() -> None:
    sent = failing(fails_within)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[0]["status"] == 200


async def works(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 201, "headers": []})
    await send({"type": "http.response.body", "body": b"a", "more_body": True})
    await send({"type": "http.response.body", "body": b"b"})


async def forgets_the_body(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 201, "headers": []})


@pytest.mark.parametrize("app", [works, forgets_the_body])
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_what_works_is_not_touched(app: Any, kind: str) -> None:
    assert call(with_tracebacks(app), kind) == call(app, kind)


# ---- the stand-in ------------------------------------------------------------------------------


@pytest.fixture
def reason(monkeypatch: pytest.MonkeyPatch) -> str:
    text = "importing 'shop' failed:\n<SyntaxError> \udcff"
    monkeypatch.setattr(sys, "argv", ["hyperserver", text])
    return text


def test_everybody_is_told_why(reason: str) -> None:
    sent = call(stand_in)
    status, kind, text = response(sent)
    assert (status, kind) == (503, "text/plain; charset=utf-8")
    assert "importing 'shop' failed:\n<SyntaxError> \\udcff" in text
    assert (b"retry-after", b"1") in sent[0]["headers"]
    assert (b"cache-control", b"no-store") in sent[0]["headers"]


def test_a_browser_is_told_on_a_page(reason: str) -> None:
    _, kind, text = response(call(stand_in, headers=BROWSER))
    assert kind == "text/html; charset=utf-8"
    assert "&lt;SyntaxError&gt;" in text


def test_a_websocket_is_denied(reason: str) -> None:
    sent = call(stand_in, "websocket", received=[{"type": "websocket.connect"}])
    assert [m["type"] for m in sent] == [
        "websocket.http.response.start",
        "websocket.http.response.body",
    ]
    assert sent[0]["status"] == 503


def test_it_has_a_lifespan() -> None:
    received = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    assert [m["type"] for m in call(stand_in, "lifespan", received=received)] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]
