"""Addresses to listen on, as people write them."""

from __future__ import annotations

import re

_HOST_PORT = re.compile(r"(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^:\[\]]*)):(?P<port>\d{1,5})")


def split_host_port(bind: str) -> tuple[str, int]:
    """``("::", 80)`` from ``"[::]:80"``; no host means all of IPv4. Raises ValueError."""
    match = _HOST_PORT.fullmatch(bind)
    if match is None or int(match["port"]) > 65_535:
        raise ValueError(
            f'{bind!r} is not an address; write "host:port", "[v6]:port", "unix:/path", "fd:N" '
            'or "systemd:NAME"'
        )
    return match["v6"] or match["host"] or "0.0.0.0", int(match["port"])


def check_bind(bind: str) -> None:
    """Raise ValueError for what cannot be an address, whatever the machine."""
    if bind.startswith("unix:"):
        path = bind.removeprefix("unix:")
        if not path or "\0" in path:
            raise ValueError(f'{bind!r} needs a path, as in "unix:/run/app.sock"')
    elif bind.startswith("fd:"):
        number = bind.removeprefix("fd:").removeprefix("//")
        if not number.isdecimal():
            raise ValueError(f'"fd:{number}" needs a file descriptor number')
    elif bind.startswith("systemd:"):
        if not bind.removeprefix("systemd:"):
            raise ValueError(f'{bind!r} needs a name, as in "systemd:hyperserver.socket"')
    else:
        split_host_port(bind)


def check_trust(entry: str) -> None:
    """Raise ValueError for what is neither an address, a network, ``unix`` nor ``*``."""
    if entry in ("*", "unix"):
        return
    from ipaddress import ip_network

    try:
        ip_network(entry)
    except ValueError as error:
        raise ValueError(
            f'{error}; write an address, a network such as "10.0.0.0/8", "unix" or "*"'
        ) from None
