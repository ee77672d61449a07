"""An application that does what a request tells it to, and notes what came of every step.

The request's field ``script`` has a Python literal, percent-encoded: a list of steps, each a tuple
of a name and its arguments (``STEPS``). What a step found is appended to the notes under the
field ``key``; the last note of a call says how it ended. ``/report`` shows the notes of its own
``key`` once there are as many of them as its field ``notes`` says, or the call has ended.
"""

from __future__ import annotations

import asyncio
import copy
import os
import sys
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

import anyio
import sniffio

from tests.e2e.apps.strays import raise_it, raise_stray_cancellation

Message = dict[str, Any]
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

REPORT = 30.0


class Notes:
    """What became of one call."""

    def __init__(self) -> None:
        self.entries: list[Any] = []
        self.ended = False
        self._changed = anyio.Event()

    def add(self, entry: Any) -> None:
        self.entries.append(entry)
        self._changed.set()
        self._changed = anyio.Event()

    async def until(self, count: int) -> None:
        with anyio.move_on_after(REPORT):
            while len(self.entries) < count and not self.ended:
                await self._changed.wait()


notes: defaultdict[str, Notes] = defaultdict(Notes)
gates: defaultdict[str, anyio.Event] = defaultdict(anyio.Event)
state: dict[str, Any] = {}


def told(error: BaseException) -> dict[str, Any]:
    return {"raised": type(error).__name__, "os": isinstance(error, OSError), "text": str(error)}


class Call:
    """One call of the application, and the steps it can take."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, note: Notes) -> None:
        self.scope = scope
        self.take = receive
        self.give = send
        self.note = note

    # ---- the two channels ----------------------------------------------------------------

    async def receive(self) -> None:
        self.note.add(await self.take())

    async def until(self, *kinds: str) -> None:
        """One note: the list of messages up to one of ``kinds``."""
        messages = [await self.take()]
        while messages[-1]["type"] not in kinds:
            messages.append(await self.take())
        self.note.add(messages)

    async def body(self) -> None:
        """One note: the list of messages of the request's body."""
        messages = [await self.take()]
        while messages[-1].get("more_body"):
            messages.append(await self.take())
        self.note.add(messages)

    async def poll(self) -> None:
        """What receive() has at once: a look from within a scope that is cancelled already."""
        message = None
        with anyio.CancelScope() as scope:
            scope.cancel()
            message = await self.take()
        self.note.add(message)

    async def give_up(self) -> None:
        """A receive() that has begun to wait, and is cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.receive)
            await anyio.wait_all_tasks_blocked() if self._on_trio else await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()
        self.note.add("given up")

    async def send(self, message: Message) -> None:
        """The note is "sent", or what was raised."""
        try:
            await self.give(message)
        except Exception as error:
            self.note.add(told(error))
        else:
            self.note.add("sent")

    async def must_send(self, message: Message) -> None:
        """Notes nothing, and lets an exception escape."""
        await self.give(message)

    async def flood(self, message: Message) -> None:
        """Send until that raises; what was raised escapes."""
        count = 0
        try:
            while True:
                await self.give(message)
                count += 1
                await anyio.sleep(0)
        except OSError as error:
            self.note.add(told(error) | {"count": count})
            raise

    async def fill(self, message: Message, count: int) -> None:
        """So many messages; the notes tell of the first that had to wait for half a second."""
        for number in range(count):
            waited = True
            with anyio.move_on_after(0.5):
                await self.give(message)
                waited = False
            if waited:
                self.note.add({"waits after": number})
                return
        self.note.add({"waits after": None})

    async def together(self, *messages: Message) -> None:
        """Each message by a task of its own."""
        async with anyio.create_task_group() as tasks:
            for message in messages:
                tasks.start_soon(self.must_send, message)

    async def while_sending(self, kind: str, message: Message) -> None:
        """Another task waits for a message of ``kind`` while ``message`` is sent."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.until, kind)
            await anyio.sleep(0)
            await self.give(message)

    async def echo(self) -> None:
        """WebSocket messages back to where they came from; the note is the disconnect."""
        while (message := await self.take())["type"] == "websocket.receive":
            await self.give({**message, "type": "websocket.send"})
        self.note.add(message)

    # ---- files ---------------------------------------------------------------------------

    async def send_file(
        self, path: str, messages: list[Message], seek: int = 0, bare: bool = False
    ) -> None:
        """Messages with the file, by object or ``bare`` descriptor, where they have a ``file``.

        One note for each, and one of where the file's position is: it is open afterwards.
        """
        with open(path, "rb") as file:  # noqa: PTH123
            file.seek(seek)
            for message in messages:
                if "file" in message:
                    await self.send({**message, "file": file.fileno() if bare else file})
                else:
                    await self.send(message)
            self.note.add({"at": os.lseek(file.fileno(), 0, os.SEEK_CUR)})

    async def change(self, path: str, size: int) -> None:
        """A file becomes longer or shorter."""
        os.truncate(path, size)

    # ---- what an application knows, and what it can do to it -----------------------------

    async def show(self, *names: str) -> None:
        """The note is the scope, or some of it."""
        self.note.add(copy.deepcopy({name: self.scope.get(name) for name in names or self.scope}))

    async def lifespan_scope(self) -> None:
        self.note.add(state["scope"])

    async def types(self) -> None:
        """The note is whether the scope is of built-in types throughout."""
        self.note.add(is_plain({**self.scope, "state": None}) and type(self.scope) is dict)

    async def spoil(self) -> None:
        """Change all that can be changed in the scope."""
        self.scope["asgi"]["version"] = "spoilt"
        self.scope["extensions"]["spoilt"] = {}
        for name, value in self.scope["extensions"].items():
            if name != "tls":
                value["spoilt"] = True
        self.scope["headers"].append((b"spoilt", b"1"))
        self.scope["headers"][0] = (b"spoilt", b"2")
        self.scope["headers"][1:] = [None, 5, "spoilt"]
        self.scope["state"]["spoilt"] = True
        self.scope["path"] = "/spoilt"

    async def same_loop(self) -> None:
        """The note is whether the lifespan ran where this runs, and what type of loop it is."""
        self.note.add((state["loop"] == running_loop(), type(running_loop()).__module__))

    async def shared_list(self) -> None:
        """Add to a list that the lifespan made; the note is how long it is now, and its identity."""
        self.scope["state"]["list"].append(1)
        self.note.add((self.scope["state"]["list"] is state["list"], sorted(self.scope["state"])))

    async def tell(self) -> None:
        """The notes, to standard error: for when nobody can ask for them any more."""
        print(f"told {self.note.entries}", file=sys.stderr, flush=True)

    # ---- the others, and the end ---------------------------------------------------------

    async def wait(self, gate: str) -> None:
        await gates[gate].wait()

    async def open(self, gate: str) -> None:
        gates[gate].set()

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)

    async def reply(self) -> None:
        """A response whose body is the notes so far."""
        await respond(self.give, repr(self.note.entries).encode())

    async def nursery(self) -> None:
        """The note tells that a task of the call was cancelled before the call ended."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._linger)
                await self.flood({"type": "http.response.body", "body": b"x", "more_body": True})
        finally:
            self.note.add("left")

    async def _linger(self) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            self.note.add("child ended")

    async def fail(self, kind: str = "error") -> None:
        await FAILURES[kind]()

    @property
    def _on_trio(self) -> bool:
        return sniffio.current_async_library() == "trio"

    async def run(self, script: list[tuple[Any, ...]]) -> Any:
        returned = None
        ended: Any = "returned"
        try:
            for name, *arguments in script:
                if name == "return":
                    return arguments[0]
                await getattr(self, name)(*arguments)
        except BaseException as error:
            ended = told(error)
            raise
        finally:
            self.note.ended = True
            self.note.add(ended)
        return returned


def is_plain(value: object) -> bool:
    if type(value) is dict:
        return all(type(key) is str and is_plain(item) for key, item in value.items())
    if type(value) is list or type(value) is tuple:
        return all(map(is_plain, value))
    return value is None or type(value) in {str, bytes, int, bool, float}


def running_loop() -> Any:
    if sniffio.current_async_library() == "trio":
        import trio

        return trio.lowlevel.current_trio_token()
    return asyncio.get_running_loop()


FAILURES: dict[str, Callable[[], Awaitable[None]]] = {
    "error": lambda: raise_it(ValueError("on purpose")),
    "cancelled": raise_stray_cancellation,
    "group": lambda: raise_it(ExceptionGroup("several", [ValueError("on purpose"), OSError()])),
    "exit": lambda: raise_it(SystemExit(5)),
}


async def respond(send: Send, body: bytes) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


async def app(scope: Scope, receive: Receive, send: Send) -> Any:
    if scope["type"] == "lifespan":
        state.update(list=[], scope=dict(scope), loop=running_loop())
        scope["state"]["list"] = state["list"]
        await lifespan(receive, send)
        return None
    fields = {name: value.decode("latin-1") for name, value in scope["headers"]}
    note = notes[key] if (key := fields.get(b"key")) else Notes()
    if scope["raw_path"] == b"/report":
        await note.until(int(fields[b"notes"]))
        await respond(send, repr(note.entries).encode())
        return None
    script = eval(unquote(fields.get(b"script", "[]")), {}, {})
    return await Call(scope, receive, send, note).run(script)


async def lifespan(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
