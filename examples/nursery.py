"""A trio application: nurseries of its own, and cancellation as trio has it.

    hyperserver examples.nursery:app --worker trio

    curl http://127.0.0.1:8000/           several answers at once, in the order in which they come
    curl -N http://127.0.0.1:8000/clock   ticks until you leave

Every request is an ordinary trio task. What it starts lives in its nursery, so nothing is left of
it when the client has gone; and a nursery that is open in the lifespan outlives all requests.
"""

import time

import trio

running = 0
started = time.monotonic()
uptime = "not known yet"


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["type"] == "http":
        await {"/": several, "/clock": clock}.get(scope["path"], status)(receive, send)


async def lifespan(receive, send):
    await receive()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        await send({"type": "lifespan.startup.complete"})
        await receive()  # lifespan.shutdown
        nursery.cancel_scope.cancel()
    await send({"type": "lifespan.shutdown.complete"})


async def watch():
    """Works in the background for as long as the server serves."""
    global uptime  # noqa: PLW0603 - the shortest way to show it
    while True:
        uptime = f"up for {time.monotonic() - started:.0f} s"
        await trio.sleep(1)


async def several(receive, send):
    """Three things at a time; the response is sent from the tasks that do them."""
    await start(send)
    async with trio.open_nursery() as nursery:
        for seconds in (0.3, 0.1, 0.2):
            nursery.start_soon(answer, send, seconds)
    await send({"type": "http.response.body"})


async def answer(send, seconds):
    await trio.sleep(seconds)
    await say(send, f"after {seconds} s\n")


async def clock(receive, send):
    """Two tasks: one ticks, the other waits for the client to leave and cancels the first."""
    global running  # noqa: PLW0603 - as above
    await start(send)
    running += 1
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tick, send)
            while (await receive())["type"] != "http.disconnect":
                pass
            nursery.cancel_scope.cancel()
    finally:
        running -= 1


async def tick(send):
    while True:
        await say(send, time.strftime("%H:%M:%S\n"))
        await trio.sleep(0.1)


async def status(receive, send):
    await start(send)
    await send({"type": "http.response.body", "body": f"{uptime}; clocks: {running}\n".encode()})


async def start(send):
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})


async def say(send, text):
    await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
