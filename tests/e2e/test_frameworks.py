"""Frameworks, unchanged, on a real server.

Django is not run on trio: its ASGI handler creates asyncio tasks. Quart on trio is quart-trio.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from importlib.util import find_spec

import httpx
import pytest

from tests.e2e.conftest import WORKERS, ServerFor
from tests.e2e.support import Server, wait_until

APPS = "tests.e2e.apps."
ASYNCIO = [worker for worker in WORKERS if worker != "trio"]
CASES = [
    *[("starlette", worker) for worker in WORKERS],
    *[("fastapi", worker) for worker in WORKERS],
    *[("quart", worker) for worker in ASYNCIO],
    *[("quart_trio", "trio") for _ in range(find_spec("quart_trio") is not None)],
    *[("django", worker) for worker in ASYNCIO],
]
WITHOUT_BACKGROUND = {"django"}
WITHOUT_LIFESPAN = {"django"}
WITH_THREADS = {"fastapi", "django"}


@pytest.fixture(params=CASES, ids="-".join)
def case(request: pytest.FixtureRequest) -> tuple[str, str]:
    framework, worker = request.param
    pytest.importorskip(framework)
    return framework, worker


@pytest.fixture
def framework(case: tuple[str, str]) -> str:
    return case[0]


@pytest.fixture
def server(case: tuple[str, str], server_for: ServerFor) -> Server:
    return server_for(f"{APPS}{case[0]}_app:app", case[1])


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=20) as client:
        yield client


@pytest.fixture
def key() -> str:
    return uuid.uuid4().hex


def wait_note(server: Server, key: str, text: bytes) -> None:
    wait_until(lambda: server.get(f"/note?key={key}").body == text, f"the note {text!r}")


def test_json(client: httpx.Client) -> None:
    expected = {"method": "GET", "query": {"a": "b c", "d": "ü"}}
    assert client.get("/json", params={"a": "b c", "d": "ü"}).json() == expected
    assert client.head("/json").content == b""
    assert client.get("/nowhere").status_code == 404


def test_path_parameters(client: httpx.Client) -> None:
    assert client.get("/items/42").json() == {"item": 42, "path": "/items/42"}


def test_streaming(client: httpx.Client) -> None:
    with client.stream("GET", "/stream") as response:
        text = "".join(response.iter_text())
    assert text == "".join(f"line {number}\n" for number in range(5))


def test_file_upload(client: httpx.Client) -> None:
    data = os.urandom(700_000)
    response = client.post("/upload", files={"file": ("näme.bin", data)}, data={"note": "a note"})
    assert response.json() == {"name": "näme.bin", "size": 700_000, "note": "a note"}
    assert client.post("/body", content=data).json() == {"size": 700_000}
    chunks = [data[start : start + 70_000] for start in range(0, 700_000, 70_000)]
    assert client.post("/body", content=iter(chunks)).json() == {"size": 700_000}  # chunked
    assert client.post("/body").json() == {"size": 0}


def test_failure(client: httpx.Client) -> None:
    for _ in range(2):
        assert client.get("/fail").status_code == 500
        assert client.get("/json").status_code == 200


def test_event_stream_ends_with_its_client(server: Server, key: str) -> None:
    for end in ("close", "reset"):
        client = server.connect()
        client.send(f"GET /events?key={key + end} HTTP/1.1\r\nhost: test\r\n\r\n".encode())
        assert client.head().headers["content-type"].startswith("text/event-stream")
        assert client.chunk() == client.chunk() == b"data: tick\n\n"
        getattr(client, end)()
        wait_note(server, key + end, b"ended")


def test_client_disconnect(server: Server, key: str) -> None:
    client = server.connect()
    client.send(f"GET /wait?key={key} HTTP/1.1\r\nhost: test\r\n\r\n".encode())
    wait_note(server, key, b"waiting")
    client.close()
    wait_note(server, key, b"disconnected")


def test_background_task(server: Server, framework: str, key: str) -> None:
    if framework in WITHOUT_BACKGROUND:
        pytest.skip(f"{framework} has no background tasks")
    with server.connect() as client:
        assert client.request("GET", f"/background?key={key}").body == b"begun"
        assert client.request("GET", "/json").status == 200
    wait_note(server, key, b"done")


def test_lifespan_state(client: httpx.Client, framework: str) -> None:
    if framework in WITHOUT_LIFESPAN:
        pytest.skip(f"{framework} has no lifespan")
    assert client.get("/state").text == "hello from the lifespan"


def test_threads(client: httpx.Client, framework: str) -> None:
    if framework not in WITH_THREADS:
        pytest.skip(f"no thread in the {framework} application")
    for _ in range(5):
        assert client.get("/threads").json() == {"where": "thread"}


def test_many_at_once(server: Server) -> None:
    clients = [server.connect() for _ in range(50)]
    for number, client in enumerate(clients):
        client.send(f"GET /items/{number} HTTP/1.1\r\nhost: test\r\n\r\n".encode())
    for number, client in enumerate(clients):
        assert client.response().json["item"] == number
        client.close()


@pytest.mark.parametrize("worker", WORKERS)
class TestOfOneFramework:
    def test_starlette_middleware_and_mount(self, worker: str, server_for: ServerFor) -> None:
        server = server_for(f"{APPS}starlette_app:app", worker)
        response = server.get("/wrapped/items/7")
        assert response.json == {"item": 7, "path": "/wrapped/items/7"}
        assert response.headers["x-middleware"] == "was here"
        streamed = server.get("/wrapped/stream")
        assert streamed.complete
        assert streamed.body.count(b"\n") == 5
        key = uuid.uuid4().hex
        client = server.connect()
        client.send(f"GET /wrapped/events?key={key} HTTP/1.1\r\nhost: test\r\n\r\n".encode())
        client.head()
        client.chunk()
        client.close()
        wait_note(server, key, b"ended")

    def test_fastapi_models_and_dependencies(self, worker: str, server_for: ServerFor) -> None:
        server = server_for(f"{APPS}fastapi_app:app", worker)
        with httpx.Client(base_url=server.url) as client:
            order = {"name": "tea", "count": 2}
            assert client.post("/orders", json=order).json() == {"name": "TEA", "count": 3}
            assert client.post("/orders", json={"count": "x"}).status_code == 422
            assert client.get("/depends?key=dependency").text == "resource"
            assert client.get("/docs").status_code == 200
        wait_note(server, "dependency", b"released")
