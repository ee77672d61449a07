"""What trusted proxies say of their clients: X-Forwarded-For and -Proto, or Forwarded (RFC 7239).

Each proxy appends whom it has seen, so a list is walked from its right end: what stands there was
written by the peer itself, which must be trusted to be asked at all; an entry was written by
the proxy behind it. The first address that is no trusted proxy is the client. Whatever stands to
the left of it may be the client's invention.

One of the two forms is read, never both: a proxy overwrites only the one that it knows, and hands on
the other as the client has made it up.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from hyperserver.asgi.scope import Address
from hyperserver.protocol.events import Headers

#: Trusted whatever its address, and the peers of Unix sockets, which have none.
EVERYBODY = "*"
UNIX = "unix"

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # noqa: S105
_PAIR = re.compile(rf'[ \t]*({_TOKEN})=(?:({_TOKEN})|"((?:[^"\\]|\\.)*)")[ \t]*(?:;|$)')
_ELEMENT = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*")+')
_ADDRESS = re.compile(
    r"(?P<v4>[0-9.]+)(?::(?P<p4>\d{1,5}))?|\[(?P<b6>[0-9A-Fa-f:.]+)\](?::(?P<p6>\d{1,5}))?"
    r"|(?P<v6>[0-9A-Fa-f:.]+)"
)
_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}

#: ``(client, scheme)``; a scheme of None says nothing, a client of None is not known.
Origin = tuple[Address | None, str | None]


class ProxyTrust:
    """``trusted`` are addresses, networks, ``unix`` or ``*``; ``form`` is ``x-forwarded`` or
    ``forwarded``.
    """

    def __init__(self, trusted: Iterable[str], form: str) -> None:
        entries = set(trusted)
        self._everybody = EVERYBODY in entries
        self._unix = UNIX in entries
        self._networks = [ip_network(entry) for entry in entries - {EVERYBODY, UNIX}]
        self._read = _forwarded if form == "forwarded" else _x_forwarded

    def trusts(self, peer: Address | None) -> bool:
        """Whether a connection's peer is to be believed; None is one on a Unix socket."""
        if peer is None:
            return self._everybody or self._unix
        address = _parse(peer[0])
        return address is not None and self._is_trusted(address[0])

    def _is_trusted(self, address: IPv4Address | IPv6Address) -> bool:
        return self._everybody or any(address in network for network in self._networks)

    def origin(self, headers: Headers, peer: Address | None) -> Origin:
        """Whose request a trusted ``peer`` has passed on, and by which scheme it came."""
        hops = self._read(headers)
        client = peer
        scheme: str | None = None
        for written, said in reversed(hops):
            scheme = _SCHEMES.get(said.lower()) or scheme
            found = _parse(written)
            if found is None:
                return None, scheme
            address, port = found
            client = (str(address), port)
            if not self._is_trusted(address):
                break
        return client, scheme


def _parse(text: str) -> tuple[IPv4Address | IPv6Address, int] | None:
    """An address with or without a port; None for a name, an identifier or nonsense."""
    match = _ADDRESS.fullmatch(text)
    if match is None:
        return None
    try:
        address = ip_address(match["v4"] or match["b6"] or match["v6"])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    port = int(match["p4"] or match["p6"] or 0)
    return (address, port) if port <= 65_535 else None


def _list(headers: Headers, name: bytes) -> list[str]:
    values = (value.decode("latin-1") for key, value in headers if key == name)
    return [element.strip(" \t") for value in values for element in value.split(",")]


def _x_forwarded(headers: Headers) -> list[tuple[str, str]]:
    """``(for, proto)`` of each hop. Where not every proxy has written a proto, the last one holds."""
    hops = _list(headers, b"x-forwarded-for")
    protos = _list(headers, b"x-forwarded-proto")
    if len(protos) != len(hops):
        protos = [protos[-1] if protos else ""] * len(hops)
    return list(zip(hops, protos, strict=True))


def _forwarded(headers: Headers) -> list[tuple[str, str]]:
    """``(for, proto)`` of each element of Forwarded (RFC 7239 §4)."""
    hops: list[tuple[str, str]] = []
    for name, value in headers:
        if name != b"forwarded":
            continue
        for element in _ELEMENT.findall(value.decode("latin-1")):
            pairs = {
                pair[1].lower(): pair[2] or re.sub(r"\\(.)", r"\1", pair[3] or "")
                for pair in _PAIR.finditer(element)
            }
            hops.append((pairs.get("for", ""), pairs.get("proto", "")))
    return hops
