"""The lifespan protocol (ASGI Lifespan 2.0) as a synchronous state machine.

    IDLE ─startup()─► STARTING ─complete─► STARTED ─shutdown()─► STOPPING ─complete─► STOPPED
                          └─failed──► FAILED                          └─failed──► FAILED

At any point the application may return or raise: UNSUPPORTED before STARTED, ENDED after.
"""

from __future__ import annotations

import enum
from typing import Any

from hyperserver.asgi.types import ASGI_VERSION, LIFESPAN_SPEC_VERSION, Message
from hyperserver.errors import LocalProtocolError


class LifespanState(enum.Enum):
    IDLE = enum.auto()
    STARTING = enum.auto()
    STARTED = enum.auto()
    STOPPING = enum.auto()
    STOPPED = enum.auto()
    FAILED = enum.auto()
    UNSUPPORTED = enum.auto()
    ENDED = enum.auto()


#: (state, message type) → next state; anything absent is out of order.
_TRANSITIONS = {
    (LifespanState.STARTING, "lifespan.startup.complete"): LifespanState.STARTED,
    (LifespanState.STARTING, "lifespan.startup.failed"): LifespanState.FAILED,
    (LifespanState.STOPPING, "lifespan.shutdown.complete"): LifespanState.STOPPED,
    (LifespanState.STOPPING, "lifespan.shutdown.failed"): LifespanState.FAILED,
}


class LifespanCycle:
    """``scope``, and what may be received and sent; the caller waits while ``receive`` is None."""

    def __init__(self) -> None:
        self.application_state: dict[str, Any] = {}
        self.scope: dict[str, Any] = {
            "type": "lifespan",
            "asgi": {"version": ASGI_VERSION, "spec_version": LIFESPAN_SPEC_VERSION},
            "state": self.application_state,
        }
        self.state = LifespanState.IDLE
        #: Startup was completed, so requests share the state, whatever became of the lifespan.
        self.supported = False
        #: What the application said of its failure.
        self.message = ""
        self._inbox: list[dict[str, Any]] = []

    def startup(self) -> None:
        self.state = LifespanState.STARTING
        self._inbox.append({"type": "lifespan.startup"})

    def shutdown(self) -> None:
        self.state = LifespanState.STOPPING
        self._inbox.append({"type": "lifespan.shutdown"})

    def receive(self) -> dict[str, Any] | None:
        return self._inbox.pop(0) if self._inbox else None

    def send(self, message: Message) -> None:
        """Raises LocalProtocolError for an unknown or untimely message."""
        kind = message.get("type")
        following = _TRANSITIONS.get((self.state, str(kind)))
        if following is None:
            raise LocalProtocolError(
                f"ASGI message {kind!r} is not allowed while lifespan is {self.state.name.lower()}"
            )
        self.state = following
        if following is LifespanState.STARTED:
            self.supported = True
        if following is LifespanState.FAILED:
            self.message = str(message.get("message", ""))

    def ended(self) -> None:
        """The application has returned or raised."""
        if self.state is LifespanState.STARTING:
            self.state = LifespanState.UNSUPPORTED
        elif self.state in (LifespanState.STARTED, LifespanState.STOPPING):
            self.state = LifespanState.ENDED
