"""What single frameworks do beside the contract, and what is special to how they do it."""

from __future__ import annotations

import httpx
import pytest

from tests.e2e.support import Server, wait_until
from tests.frameworks.clients import visit


@pytest.mark.only("starlette")
def test_middleware_and_mount(server: Server, client: httpx.Client, http: str, key: str) -> None:
    response = client.get("/wrapped/items/7")
    assert response.json() == {"item": 7, "path": "/wrapped/items/7"}
    assert response.headers["x-middleware"] == "was here"
    assert client.get("/wrapped/stream").text.count("\n") == 5
    events = visit(server, http, f"/wrapped/events?key={key}")
    events.headers()
    events.piece()
    events.leave()
    wait_until(lambda: client.get(f"/note?key={key}").text == "ended", "the end of the events")


@pytest.mark.only("fastapi")
def test_models_and_dependencies(client: httpx.Client) -> None:
    order = {"name": "tea", "count": 2}
    assert client.post("/orders", json=order).json() == {"name": "TEA", "count": 3}
    assert client.post("/orders", json={"count": "x"}).status_code == 422
    assert client.get("/depends?key=dependency").text == "resource"
    assert client.get("/docs").status_code == 200
    wait_until(
        lambda: client.get("/note?key=dependency").text == "released", "the dependency's end"
    )


@pytest.mark.only("fastapi", "django", "channels", "flask")
def test_synchronous_views(client: httpx.Client) -> None:
    for _ in range(5):
        assert client.get("/threads").json() == {"where": "thread"}


@pytest.mark.only("piccolo")
def test_what_was_generated(client: httpx.Client) -> None:
    assert "Piccolo + ASGI" in client.get("/").text
    assert client.get("/static/main.css").headers["content-type"].startswith("text/css")
    assert client.get("/admin/").status_code == 200
    (task,) = client.get("/tasks/").json()["rows"]
    assert client.get(f"/tasks/{task['id']}/").json()["name"] == "write it down"


@pytest.mark.only("trio")
def test_streams_that_clients_leave_free_all_tasks(server: Server, http: str, key: str) -> None:
    """Each has two tasks that make events, one that listens, and those of its nurseries."""

    def tasks() -> int:
        return int(server.get("/tasks").body)

    before = tasks()
    clients = [visit(server, http, f"/events?key={key}{number}") for number in range(20)]
    for client in clients:
        client.headers()
        client.piece()
    assert tasks() >= before + 60
    for number, client in enumerate(clients):
        (client.leave if number % 2 else client.cancel)()
    wait_until(lambda: tasks() <= before, "the end of the tasks of those who have left")
    for number in range(20):
        assert server.get(f"/note?key={key}{number}").body == b"endedended"


@pytest.mark.only("trio")
def test_a_stop_cancels_what_streams(worker: str, http: str, key: str) -> None:
    """trio's Cancelled goes through nurseries of requests and of the lifespan, and nothing is left."""
    app = "tests.frameworks.apps.trio_app:app"
    with Server(app, worker, "--timeouts-drain", "200ms", "--no-access-log") as server:
        client = visit(server, http, f"/events?key={key}")
        client.headers()
        client.piece()
        assert server.stop() in {0, 1}, str(server.stderr)
        assert "the lifespan has ended" in str(server.stdout)
        assert "ERROR exception" not in str(server.stderr)
        client.leave()
