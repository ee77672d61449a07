"""Requests that the server answers instead of the application.

An answer is whole when it is given: nothing here waits, and bodies are short.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus

from hyperserver.protocol.events import RequestReceived
from hyperserver.protocol.fields import response_fields
from hyperserver.protocol.hosts import HostNames, host_of
from hyperserver.protocol.response_fields import ResponseFields

#: Where an ACME server looks for the answer to its challenge (RFC 8555 §8.3).
ACME_PATH = b"/.well-known/acme-challenge/"


@dataclass(frozen=True, slots=True)
class Answer:
    """A response. ``reason`` is for the access log where the request is refused."""

    status: int
    headers: ResponseFields
    body: bytes
    reason: str = ""


def make_answer(
    status: int,
    body: bytes,
    *more: tuple[bytes, bytes],
    content_type: bytes = b"text/plain; charset=utf-8",
    reason: str = "",
) -> Answer:
    """One with its length, as a GET would be told for a HEAD."""
    length = (b"content-length", b"%d" % len(body))
    headers = response_fields(((b"content-type", content_type), length, *more))
    return Answer(status, headers, body, reason)


SERVING = make_answer(200, b"serving\n", (b"cache-control", b"no-store"))
STOPPING = make_answer(503, b"stopping\n", (b"cache-control", b"no-store"))


def refusal(status: int, reason: str, *more: tuple[bytes, bytes]) -> Answer:
    """One that says in a line why there is no other."""
    text = f"{status} {HTTPStatus(status).phrase}: {reason}\n"
    return make_answer(status, text.encode(), *more, reason=reason)


#: RFC 9110 §15.5.20: the client may try again on another connection. That of HTTP/2 may have been
#: opened for another host with the same certificate (RFC 9113 §9.1.1).
MISDIRECTED = refusal(421, "this connection was not opened for that host; open another one")


#: The same on any version of HTTP: whoever was asked for, it is nobody here.
UNKNOWN_HOST = refusal(421, "no host of that name is served here")


class Redirect:
    """Sends every request to ``https`` on one of ``names`` ("host" or "host:port").

    A client's own Host is followed only where it is among them; who names another host is sent
    to the first one, lest a forged Host end up in somebody's cache (RFC 9110 §7.2).
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        targets = [f"https://{name.lower().removesuffix(':443')}".encode() for name in names]
        self._default = targets[0]
        self._targets = {
            host_of(name.encode()): target
            for name, target in reversed(list(zip(names, targets, strict=True)))
        }

    def answer(self, request: RequestReceived) -> Answer:
        """308 leaves the method and the body as they are (RFC 9110 §15.4.9)."""
        base = self._targets.get(host_of(request.authority), self._default)
        location = base + (b"/" if request.target == b"*" else request.target)
        return make_answer(308, b"see " + location + b"\n", (b"location", location))


class ServerNames:
    """Refuses requests for other hosts than ``names`` (see ``HostNames``)."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = HostNames(names)

    def answer(self, authority: bytes) -> Answer | None:
        """None for a host of ours. There is always an authority, if only an empty one."""
        return None if host_of(authority) in self._names else UNKNOWN_HOST
