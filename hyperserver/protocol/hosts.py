"""The names of hosts: as requests say them, and which of them are ours."""

from __future__ import annotations

import re
from collections.abc import Iterable

#: What may be an address or a network; the rest need not be tried.
_NUMERIC = re.compile(r"[0-9a-f:.]+(?:/[0-9]{1,3})?")


def host_of(authority: bytes) -> str:
    """The host name or address in a valid authority, in lower case, without port or final dot."""
    text = authority.decode("latin-1").lower()
    if text[:1] == "[":
        return text[1:].partition("]")[0]
    return text.partition(":")[0].removesuffix(".")


class HostNames:
    """A set of hosts: names, ``*.`` with a name for all that are one label below it (as in
    certificates, RFC 9525 §6.3), addresses, networks; an empty one stands for requests that name no
    host. ``host in names`` takes what ``host_of`` gives.
    """

    __slots__ = ("_names", "_networks")

    def __init__(self, names: Iterable[str]) -> None:
        self._names: set[str] = set()
        self._networks = []
        for name in names:
            text = name.lower().removesuffix(".").strip("[]")
            network = None
            if _NUMERIC.fullmatch(text):
                from ipaddress import ip_network

                try:
                    network = ip_network(text)
                except ValueError:
                    pass  # a name of digits or letters up to f
            if network is None:
                self._names.add(text)
            else:
                self._networks.append(network)

    def __contains__(self, host: str) -> bool:
        label, _, parent = host.partition(".")
        if host in self._names or (label and "*." + parent in self._names):
            return True
        if not self._networks or not _NUMERIC.fullmatch(host):
            return False
        from ipaddress import ip_address

        try:
            address = ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self._networks)
