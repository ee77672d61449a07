"""How much a worker takes on: connections, those of one address, requests.

Connections over the limit are not accepted: they wait in the kernel's backlog until others end, and
so they do when descriptors run out. Where ``limits.connections`` says nothing, the limit of open
files does, less what the process has open and what applications may want to open. Listeners ask
before they accept and are called back when there is room, so none of this polls.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection
from time import monotonic
from typing import TYPE_CHECKING

from hyperserver.observe.logs import logger
from hyperserver.protocol.answers import Answer, refusal

if TYPE_CHECKING:
    from hyperserver.asgi.scope import Address
    from hyperserver.config.schema import Limits
    from hyperserver.protocol.events import RequestReceived
    from hyperserver.runtime.connection import Connection
    from hyperserver.runtime.site import Site
    from hyperserver.runtime.stream import AnyStream
    from hyperserver.runtime.tls_session import TLSSession

#: Seconds between two lines in the log that say the same.
_SILENCE = 60.0
#: Of the descriptors, one in so many is left to the application, and at most so many.
_SHARE, _MOST = 10, 1000

BUSY = refusal(503, "too many requests in progress; try again", (b"retry-after", b"1"))


class Admission:
    """Counts ``connections``, which are its worker's, and those that are being made."""

    def __init__(self, limits: Limits, connections: Collection[Connection]) -> None:
        self._connections = connections
        self._descriptors = sys.maxsize
        #: Connections that may be open.
        self.bound = sys.maxsize
        #: Accepted, and not yet a connection.
        self._making = 0
        self._addresses: dict[str, int] = {}
        self._waiting: list[Callable[[], None]] = []
        self._said: dict[str, float] = {}
        self.use(limits)

    def use(self, limits: Limits) -> None:
        """Go by ``limits`` from now on; connections that there are stay."""
        self._wanted = limits.connections
        self.per_address = limits.connections_per_address
        self._set_bound()

    def measure(self) -> None:
        """See how many connections the limit of open files allows, beside what is open now."""
        self._descriptors = spare_descriptors()
        self._set_bound()
        if self._wanted is not None and self._wanted > self._descriptors:
            logger.warning(
                "`limits.connections`: the limit of open files allows for %d, not %d; raise it "
                "with `ulimit -n` or LimitNOFILE=",
                self._descriptors,
                self._wanted,
            )

    def _set_bound(self) -> None:
        self.bound = min(self._wanted or sys.maxsize, self._descriptors)
        self._resume()

    # ---- what listeners ask --------------------------------------------------------------

    @property
    def room(self) -> int:
        """How many more connections may be accepted; less than nothing where the limit shrank."""
        return self.bound - len(self._connections) - self._making

    def is_full(self) -> bool:
        """Whether to accept nothing now; if so, ``wait``."""
        if self.room > 0:
            return False
        if self.bound == self._wanted:
            why = "`limits.connections`"
        else:
            why = "the limit of open files; raise it with `ulimit -n` or LimitNOFILE="
        self._say("full", f"{self.bound} connections are open, more have to wait: {why}")
        return True

    def failed(self, error: OSError) -> None:
        """Accepting has failed, for a lack of descriptors or memory; afterwards, ``wait``."""
        self._say("failed", f"cannot accept connections, they have to wait: {error.strerror}")

    def wait(self, resume: Callable[[], None]) -> None:
        """Call ``resume`` once when it is worth while to try again."""
        self._waiting.append(resume)

    def take(self, peer: object) -> bool:
        """A connection from ``peer`` was accepted; False means that it is to be closed at once.

        ``made`` has to follow where it is True.
        """
        if self.per_address is not None and isinstance(peer, tuple):
            address = address_key(peer[0])
            count = self._addresses.get(address, 0)
            if count >= self.per_address:
                self._say(
                    "address",
                    f"{address} has {count} connections, more are closed: "
                    "`limits.connections_per_address`",
                )
                return False
            self._addresses[address] = count + 1
        self._making += 1
        return True

    def made(self, peer: object, adopted: bool) -> None:
        """It has become a connection of the worker's, or has failed to."""
        self._making -= 1
        if not adopted and isinstance(peer, tuple):
            self._leave(peer)
        self._resume()

    # ---- what the worker tells -----------------------------------------------------------

    def left(self, client: Address | None) -> None:
        """A connection has ended."""
        if client is not None and self._addresses:
            self._leave(client)
        if self._waiting:
            self._resume()

    def retry(self) -> None:
        """Time has passed: what has failed may succeed now."""
        if self._waiting:
            self._resume()

    def _leave(self, client: tuple[object, ...]) -> None:
        address = address_key(str(client[0]))
        count = self._addresses.get(address, 0)
        if count > 1:
            self._addresses[address] = count - 1
        else:
            self._addresses.pop(address, None)

    def _resume(self) -> None:
        if self._waiting and self.room > 0:
            waiting, self._waiting = self._waiting, []
            for resume in waiting:
                resume()

    def _say(self, about: str, text: str) -> None:
        now = monotonic()
        said = self._said.get(about)
        if said is None or now - said >= _SILENCE:
            self._said[about] = now
            logger.warning("%s", text)


class RequestGate:
    """A site (see ``Connection.site``) that answers with 503 where too many requests are running.

    ``inner`` is the connection's own site, whose answers cost no more than refusing.
    """

    __slots__ = ("_inner", "_limit", "_streams")

    def __init__(
        self, limit: int, streams: Collection[AnyStream], inner: Site | TLSSession | None
    ) -> None:
        self._limit = limit
        self._streams = streams
        self._inner = inner

    def answer(self, request: RequestReceived) -> Answer | None:
        if self._inner is not None and (answer := self._inner.answer(request)) is not None:
            return answer
        return BUSY if len(self._streams) >= self._limit else None


def address_key(address: str) -> str:
    """What counts as one address: of IPv6 the network of 64 bits, which one client may have."""
    if ":" not in address:
        return address
    import ipaddress

    parsed = ipaddress.IPv6Address(address.partition("%")[0])
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))


def spare_descriptors() -> int:
    """How many connections may be opened beside what is open and what is left to applications."""
    try:
        import resource
    except ImportError:  # Windows, where sockets are not counted among files
        return sys.maxsize
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return sys.maxsize
    try:
        used = len(os.listdir("/dev/fd"))
    except OSError:
        used = 32
    return max(1, limit - used - max(8, min(limit // _SHARE, _MOST)))
