"""What trusted proxies say of their clients: in X-Forwarded-… or in Forwarded (RFC 7239).

Each proxy appends whom it has seen, so a list is walked from its right end: what stands there was
written by the peer itself, which must be trusted to be asked at all; an entry was written by
the proxy behind it. The first address that is no trusted proxy is the client. Whatever stands to
the left of it may be the client's invention.

One of the two forms is read, never both: a proxy overwrites only the one that it knows, and hands on
the other as the client has made it up. For the same reason the host and the prefix are read only on
demand: many proxies say nothing of them, and what a client says then would go through.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import NamedTuple

from hyperserver.asgi.scope import Address, decode_path
from hyperserver.errors import RemoteProtocolError
from hyperserver.protocol.events import Headers
from hyperserver.protocol.fields import check_authority

#: Trusted whatever its address, and the peers of Unix sockets, which have none.
EVERYBODY = "*"
UNIX = "unix"
#: What nginx writes of a peer on a Unix socket.
_UNIX_PEER = "unix:"

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # noqa: S105
_PAIR = re.compile(rf'[ \t;]*({_TOKEN})=(?:({_TOKEN})|"((?:[^"\\]|\\.)*)")[ \t]*(?:;|$)')
#: An element backwards, where a quote that is escaped has its backslash behind it.
_TNEMELE = re.compile(r'(?:[^,"]|"(?:"\\|[^"])*")+')
_ADDRESS = re.compile(
    r"(?P<v4>[0-9.]+)(?::(?P<p4>\d{1,5}))?|\[(?P<b6>[0-9A-Fa-f:.]+)\](?::(?P<p6>\d{1,5}))?"
    r"|(?P<v6>[0-9A-Fa-f:.]+)",
    re.ASCII,
)
#: Segments, none of them empty or of dots: a link that an application makes of "//" or "/.." leads
#: somewhere else.
_PREFIX = re.compile(r"(?:/(?!\.\.?(?:/|$))[^/\\?#\x00-\x1f\x7f]+)*/?")
#: Characters of an address with its port.
_LONGEST = 64
_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


class Origin(NamedTuple):
    """Where a request has come from. A client of None is not known; of the rest, None says
    nothing. ``host`` is a valid authority, ``prefix`` a path without its last slash, decoded.
    """

    client: Address | None
    scheme: str | None = None
    host: bytes | None = None
    prefix: str | None = None


class _Hop(NamedTuple):
    """What one proxy has said: ``seen`` is who has asked it, None where it does not say."""

    seen: str | None
    proto: str
    host: str


class ProxyTrust:
    """``trusted`` are addresses, networks, ``unix`` or ``*``; ``form`` is ``x-forwarded`` or
    ``forwarded``. ``host`` and ``prefix``: whether they are believed as to those, too.
    """

    def __init__(
        self, trusted: Iterable[str], form: str, *, host: bool = False, prefix: bool = False
    ) -> None:
        entries = set(trusted)
        self._everybody = EVERYBODY in entries
        self._unix = UNIX in entries or self._everybody
        self._networks = [ip_network(entry) for entry in entries - {EVERYBODY, UNIX}]
        self._read = _forwarded if form == "forwarded" else _x_forwarded
        #: The host that applications see may not be the one in the request.
        self.tells_host = host
        self._tells_prefix = prefix

    def trusts(self, peer: Address | None) -> bool:
        """Whether a connection's peer is to be believed; None is one on a Unix socket."""
        if peer is None:
            return self._unix
        address = _parse(peer[0])
        return address is not None and self._is_trusted(address[0])

    def _is_trusted(self, address: IPv4Address | IPv6Address) -> bool:
        return self._everybody or any(address in network for network in self._networks)

    def origin(self, headers: Headers, peer: Address | None) -> Origin:
        """Whose request a trusted ``peer`` has passed on, and what for."""
        client = peer
        scheme: str | None = None
        host: bytes | None = None
        for hop in reversed(self._read(headers)):
            scheme = _SCHEMES.get(hop.proto.lower()) or scheme
            if self.tells_host:
                host = _authority(hop.host) or host
            if hop.seen is None:
                break
            if hop.seen == _UNIX_PEER and self._unix:
                client = None
                continue
            found = _parse(hop.seen)
            if found is None:
                client = None
                break
            address, client = found
            if not self._is_trusted(address):
                break
        return Origin(client, scheme, host, _prefix(headers) if self._tells_prefix else None)


def _parse(text: str) -> tuple[IPv4Address | IPv6Address, Address] | None:
    """An address with or without a port; None for a name, an identifier or nonsense."""
    return _parsed(text) if len(text) <= _LONGEST else None


@lru_cache(1024)  # clients come again, and an address takes longer to read than all else here
def _parsed(text: str) -> tuple[IPv4Address | IPv6Address, Address] | None:
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
    return (address, (str(address), port)) if port <= 65_535 else None


def _authority(text: str) -> bytes | None:
    """A host with or without a port; None for nonsense."""
    authority = text.encode("latin-1")
    try:
        check_authority(authority)
    except RemoteProtocolError:
        return None
    return None if authority[:1] in (b"", b":") else authority


# ---- X-Forwarded-… -----------------------------------------------------------------------------


def _x_forwarded(headers: Headers) -> list[_Hop]:
    hops: list[str] = []
    protos: list[str] = []
    hosts: list[str] = []
    lists = {b"x-forwarded-for": hops, b"x-forwarded-proto": protos, b"x-forwarded-host": hosts}
    for name, value in headers:
        if name in lists:
            elements = value.decode("latin-1").split(",")
            lists[name] += [element.strip(" \t") for element in elements]
    if not hops:
        return [_Hop(None, *_of_each(protos, 1), *_of_each(hosts, 1))]
    count = len(hops)
    return list(map(_Hop, hops, _of_each(protos, count), _of_each(hosts, count)))


def _of_each(values: list[str], count: int) -> list[str]:
    """One value for each hop. Where not every proxy has written one, the last holds for all: it
    is the peer's.
    """
    return values if len(values) == count else [values[-1] if values else ""] * count


def _prefix(headers: Headers) -> str | None:
    """The path that a proxy has cut off (X-Forwarded-Prefix), decoded."""
    values = [value for name, value in headers if name == b"x-forwarded-prefix"]
    if not values:
        return None
    last = decode_path(values[-1].rpartition(b",")[2].strip(b" \t"))
    return last.removesuffix("/") if last and _PREFIX.fullmatch(last) else None


# ---- Forwarded ---------------------------------------------------------------------------------


def _forwarded(headers: Headers) -> list[_Hop]:
    """The elements of Forwarded (RFC 7239 §4), of which empty ones say nothing.

    They are told apart from the right, so that a quote which a client leaves open swallows nothing
    of what proxies have appended.
    """
    hops: list[_Hop] = []
    for name, value in headers:
        if name != b"forwarded":
            continue
        backwards = value.decode("latin-1")[::-1]
        elements = [element[::-1] for element in _TNEMELE.findall(backwards)]
        hops += [_hop(element) for element in reversed(elements) if element.strip(" \t")]
    return hops


def _hop(element: str) -> _Hop:
    """One with a mistake says nothing but that somebody was there; a parameter that is there twice
    is not believed (§4: each occurs once at most).
    """
    pairs: dict[str, str] = {}
    text = element.rstrip(" \t;")
    position = 0
    while position < len(text):
        pair = _PAIR.match(text, position)
        if pair is None:
            return _Hop("", "", "")
        position = pair.end()
        name = pair[1].lower()
        value = pair[2] or re.sub(r"\\(.)", r"\1", pair[3] or "")
        pairs[name] = "" if name in pairs else value
    return _Hop(pairs.get("for"), pairs.get("proto", ""), pairs.get("host", ""))
