"""A WSGI application (PEP 3333), served as it is: no framework, no adapter.

    hyperserver examples.wsgi:app

    curl http://127.0.0.1:8000/                               a whole response
    curl -N http://127.0.0.1:8000/ticks                       one that takes its time
    curl --data-binary @README.md http://127.0.0.1:8000/lines an upload, read as it comes
    curl http://127.0.0.1:8000/source                         a file

Each call runs in a thread of its own (`wsgi.threads`), so it may block.
"""

import time
from pathlib import Path


def app(environ, start_response):
    if environ["PATH_INFO"] == "/":
        body = b"Hello, %s!\n" % environ["REMOTE_ADDR"].encode("latin-1")
        # The one block of a list is the whole body, so its length need not be said.
        return respond(start_response, "200 OK", [body])
    if environ["PATH_INFO"] == "/ticks":
        return respond(start_response, "200 OK", ticks())
    if environ["PATH_INFO"] == "/lines":
        # Iterating over the input waits for the client: no more than a line is in memory.
        count = sum(1 for _ in environ["wsgi.input"])
        return respond(start_response, "200 OK", [b"%d lines\n" % count])
    if environ["PATH_INFO"] == "/source":
        # Closed by the server, also when the client has left half-way.
        file = Path(__file__).open("rb")  # noqa: SIM115
        return respond(start_response, "200 OK", environ["wsgi.file_wrapper"](file))
    return respond(start_response, "404 Not Found", [b"Not found\n"])


def ticks():
    # Each block is on its way before the next one is asked for; if the client leaves, that never
    # happens, and the generator is closed.
    for number in range(3):
        yield b"tick %d\n" % number
        time.sleep(0.1)


def respond(start_response, status, blocks):
    start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
    return blocks
