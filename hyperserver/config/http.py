"""What of HTTP people write into a configuration: host names, paths, response fields.

Each check raises ValueError with what is wrong and, after a semicolon, what to do.
"""

from __future__ import annotations

import re

_HOST = re.compile(r"(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?")
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[!-~\xa0-\xff]([\t -~\xa0-\xff]*[!-~\xa0-\xff])?")

#: Fields that cannot be the same in all responses, with the reason.
_FRAMING = "is the server's own business, or that of one connection"
_OF_ONE = "tells of one response alone; let the application set it"
_NOT_FOR_ALL = {
    "connection": _FRAMING,
    "content-length": _FRAMING,
    "keep-alive": _FRAMING,
    "proxy-connection": _FRAMING,
    "te": _FRAMING,
    "trailer": _FRAMING,
    "transfer-encoding": _FRAMING,
    "upgrade": _FRAMING,
    "date": "is always the time; `date_header` says whether to add it",
    "alt-svc": "belongs to a listener; set `listen.alt_svc`",
    "strict-transport-security": "belongs to a listener with TLS; set `listen.hsts`",
    "allow": _OF_ONE,
    "content-encoding": _OF_ONE,
    "content-location": _OF_ONE,
    "content-range": _OF_ONE,
    "content-type": _OF_ONE,
    "etag": _OF_ONE,
    "last-modified": _OF_ONE,
    "location": _OF_ONE,
    "proxy-authenticate": _OF_ONE,
    "retry-after": _OF_ONE,
    "set-cookie": _OF_ONE,
    "www-authenticate": _OF_ONE,
}


def check_host(name: str) -> None:
    """A host name, or ``*.`` with one, or an address."""
    if _HOST.fullmatch(name) is None and not _is_network(name, of_one=True):
        raise ValueError(f'{name!r} is not a host; write "example.org" or "*.example.org"')


def check_hosts(name: str) -> None:
    """What ``check_host`` takes, a network, or nothing: for requests without a host."""
    if name and _HOST.fullmatch(name) is None and not _is_network(name, of_one=False):
        raise ValueError(
            f'{name!r} is not a host; write "example.org", "*.example.org", an address or a network'
        )


def _is_network(text: str, *, of_one: bool) -> bool:
    from ipaddress import ip_address, ip_network

    bare = text[1:-1] if text[:1] == "[" and text[-1:] == "]" else text
    try:
        (ip_address if of_one else ip_network)(bare)
    except ValueError:
        return False
    return True


def is_among(name: str, names: tuple[str, ...]) -> bool:
    """Whether the host ``name`` is one of ``names``, or below a "*." of them; no addresses."""
    known = {one.lower().removesuffix(".") for one in names}
    host = name.lower().removesuffix(".")
    return host in known or "*." + host.partition(".")[2] in known


def is_address(name: str) -> bool:
    """Whether it is an address or a network, or nothing."""
    return not name or _is_network(name, of_one=False)


def check_path(path: str) -> None:
    """A path that ends without a slash, or that is nothing but one; decoded."""
    if path == "/":
        return
    if path[:1] != "/" or path[-1:] == "/":
        raise ValueError(f'must begin with "/" and not end with it, not {path!r}')
    if "//" in path or "?" in path or "#" in path or any(c < " " or c == "\x7f" for c in path):
        raise ValueError(f"{path!r} is not a path")
    if re.search("%[0-9A-Fa-f]{2}", path):
        raise ValueError(f"{path!r} is encoded; write the characters themselves")


def check_field(text: str) -> None:
    """A response field, as ``split_field`` takes it, that may stand in all responses."""
    name, colon, value = text.partition(":")
    name, value = name.rstrip(" \t"), value.strip(" \t")
    if not colon or _NAME.fullmatch(name) is None:
        raise ValueError(f'{text!r} is not a field; write "name: value"')
    if not value:
        raise ValueError(f"{name!r} has no value")
    if _VALUE.fullmatch(value) is None:
        raise ValueError(f"{value!r} cannot stand in a field")
    lower = name.lower()
    reason = _OF_ONE if lower.startswith("sec-websocket-") else _NOT_FOR_ALL.get(lower)
    if reason:
        raise ValueError(f"{lower} {reason}")


def split_field(text: str) -> tuple[bytes, bytes]:
    """``(b"x-a", b"b")`` from ``"X-A: b"``."""
    name, _, value = text.partition(":")
    return name.strip(" \t").lower().encode(), value.strip(" \t").encode("latin-1")
