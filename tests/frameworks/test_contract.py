"""What every framework does on this server, over HTTP/1.1 and HTTP/2.

Each application in apps/ answers the same paths, written as people write for that framework.
"""

from __future__ import annotations

import json
import os

import httpx
import pytest

from tests.e2e.support import Server, wait_until
from tests.frameworks.clients import browse, chat, connect, refusal, vanish, visit
from tests.frameworks.matrix import Framework

LINES = "".join(f"line {number}\n" for number in range(5))


def wait_note(server: Server, key: str, begin: bytes) -> None:
    """Wait for what the application has noted."""
    wait_until(lambda: server.get(f"/note?key={key}").body.startswith(begin), f"the note {begin!r}")


@pytest.mark.capability("routes")
def test_routes(client: httpx.Client, http: str) -> None:
    response = client.get("/json", params={"a": "b c", "d": "ü"})
    assert response.http_version == ("HTTP/2" if http == "2" else "HTTP/1.1")
    assert response.json() == {"method": "GET", "query": {"a": "b c", "d": "ü"}}
    assert client.head("/json").content == b""
    assert client.get("/items/42").json() == {"item": 42, "path": "/items/42"}
    assert client.get("/nowhere").status_code == 404
    for _ in range(2):
        assert client.get("/fail").status_code == 500
        assert client.get("/json").status_code == 200


@pytest.mark.capability("routes")
def test_many_at_once(server: Server, http: str) -> None:
    if http == "2":
        with connect(server) as client:
            streams = [client.get(f"/items/{number}") for number in range(50)]
            bodies = [client.body(stream) for stream in streams]
    else:
        clients = [server.connect() for _ in range(50)]
        for number, each in enumerate(clients):
            each.send(f"GET /items/{number} HTTP/1.1\r\nhost: test\r\n\r\n".encode())
        bodies = [each.response().body for each in clients]
        for each in clients:
            each.close()
    assert [json.loads(body)["item"] for body in bodies] == list(range(50))


@pytest.mark.capability("streaming")
def test_streaming(client: httpx.Client) -> None:
    with client.stream("GET", "/stream") as response:
        assert "content-length" not in response.headers
        assert "".join(response.iter_text()) == LINES


@pytest.mark.capability("events")
def test_events_end_with_their_client(server: Server, http: str, key: str) -> None:
    for end in ("leave", "cancel"):
        client = visit(server, http, f"/events?key={key}{end}")
        assert client.headers()["content-type"].startswith("text/event-stream")
        for _ in range(2):
            assert client.piece().split()[:2] == [b"data:", b"tick"]
        getattr(client, end)()
        wait_note(server, key + end, b"ended")


@pytest.mark.capability("upload")
def test_upload(client: httpx.Client) -> None:
    data = os.urandom(700_000)
    assert client.post("/body", content=data).json() == {"size": 700_000}
    chunks = [data[start : start + 70_000] for start in range(0, 700_000, 70_000)]
    assert client.post("/body", content=iter(chunks)).json() == {"size": 700_000}
    assert client.post("/body").json() == {"size": 0}


@pytest.mark.capability("forms")
def test_form_with_a_file(client: httpx.Client) -> None:
    data = os.urandom(700_000)
    response = client.post("/upload", files={"file": ("näme.bin", data)}, data={"note": "a note"})
    assert response.json() == {"name": "näme.bin", "size": 700_000, "note": "a note"}


@pytest.mark.capability("background")
def test_background_task(client: httpx.Client, server: Server, key: str) -> None:
    assert client.get(f"/background?key={key}").text == "begun"
    assert client.get("/json").status_code == 200
    wait_note(server, key, b"done")


@pytest.mark.capability("disconnect")
def test_client_that_leaves_is_noticed(server: Server, http: str, key: str) -> None:
    for end in ("leave", "cancel"):
        client = visit(server, http, f"/wait?key={key}{end}")
        wait_note(server, key + end, b"waiting")
        getattr(client, end)()
        wait_note(server, key + end, b"disconnected")


@pytest.mark.capability("lifespan")
def test_lifespan(framework: Framework, worker: str) -> None:
    with Server(framework.app, worker, "--lifespan", "on", "--no-access-log") as server:
        assert server.get("/state").body == b"hello from the lifespan"
        assert "the lifespan has ended" not in str(server.stdout)
        assert server.stop() == 0, str(server.stderr)
        assert "the lifespan has ended" in str(server.stdout)


@pytest.mark.capability("websocket")
def test_websocket(server: Server, http: str, key: str) -> None:
    with chat(server, http, f"/echo?key={key}") as client:
        assert json.loads(client.hear()) == {"path": "/echo"}
        for message in ("ü", "x" * 100_000):
            client.say(message)
            assert client.hear() == message
    wait_note(server, key, b"left")
    vanish(server, http, f"/echo?key={key}vanished")
    wait_note(server, key + "vanished", b"left")


@pytest.mark.capability("binary")
def test_binary_messages(server: Server, http: str) -> None:
    with chat(server, http, "/echo") as client:
        client.hear()
        for message in (b"\xff", bytes(100_000), "and text"):
            client.say(message)
            assert client.hear() == message


@pytest.mark.capability("denial")
def test_denial(server: Server, http: str) -> None:
    status, body = refusal(server, http, "/deny")
    assert (status, b"not you" in body) == (401, True)


@pytest.mark.capability("push")
def test_push(server: Server, http: str) -> None:
    """A client of HTTP/1.1, or one that takes no pushes, gets the page alone."""
    with browse(server, http) as browser:
        assert browser.get("/push").text == "pushed"
    if http == "2":
        with connect(server, push=True) as client:
            assert client.fetch("/push") == b"pushed"
            (promised,) = client.reader.promised
            assert json.loads(client.body(promised)) == {"item": 7, "path": "/items/7"}


@pytest.mark.capability("hints")
def test_early_hints(server: Server, http: str) -> None:
    client = visit(server, http, "/hints")
    client.headers()
    assert (client.status, client.hints) == (200, ["</style.css>; rel=preload; as=style"])
    client.leave()
