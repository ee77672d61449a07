"""What a client says about the order of responses: the two schemes' signals, and reading the one
that is text.

RFC 9218 has an urgency and a flag, written as a Structured Field Dictionary in the ``priority``
field and in PRIORITY_UPDATE frames. RFC 7540 had a tree, in binary; RFC 9113 §5.3 deprecates it.

A Structured Field is all or nothing: one byte against its grammar, in whichever member, and the
whole field counts as absent (RFC 9651 §4.2). Only in a field that follows the grammar is each
parameter judged by itself, and ignored if it is unknown, out of range or of another type
(RFC 9218 §4). None of that is an error: a priority is a wish.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from hyperserver.errors import RemoteProtocolError


class Priority(NamedTuple):
    """RFC 9218 §4: ``urgency`` 0 (first) to 7 (background), and whether the response is of use
    in parts.
    """

    urgency: int = 3
    incremental: bool = False


class Dependency(NamedTuple):
    """RFC 7540 §5.3: the stream to come after (0: none), and the share among those that do.

    ``weight`` is 1 to 256, one more than the byte in the frame. ``exclusive``: what depended on
    that stream so far comes after this one.
    """

    depends_on: int = 0
    weight: int = 16
    exclusive: bool = False


#: What holds where a client says nothing.
DEFAULT = Priority()

# RFC 9651 §3.3. Alternatives that begin alike end differently from all that may follow an item, so
# matching takes linear time. That a Display String is UTF-8 is not checked: it would be ignored.
_BARE_ITEM = (
    rb"(?:-?\d{1,12}\.\d{1,3}"  # Decimal
    rb"|-?\d{1,15}"  # Integer
    rb'|"(?:[ !#-\[\]-~]|\\["\\])*"'  # String
    rb"|[A-Za-z*][\w!#$%&'*+\-.^`|~:/]*"  # Token
    rb"|:[A-Za-z0-9+/=]*:"  # Byte Sequence
    rb"|\?[01]"  # Boolean
    rb"|@-?\d{1,15}"  # Date
    rb'|%"(?:[ !#$&-~]|%[0-9a-f]{2})*")'  # Display String
)
_KEY = rb"[a-z*][a-z0-9_\-.*]*"
_PARAMETERS = rb"(?:; *" + _KEY + rb"(?:=" + _BARE_ITEM + rb")?)*"
_INNER_LIST = rb"\( *(?:" + _BARE_ITEM + _PARAMETERS + rb"(?: +|(?=\))))*\)"
#: A member of a Dictionary (RFC 9651 §4.2.2) with the comma after it, if another key follows.
_MEMBER = re.compile(
    rb"(" + _KEY + rb")(?:=(" + _BARE_ITEM + rb"|" + _INNER_LIST + rb"))?" + _PARAMETERS +
    rb"[ \t]*(?:,[ \t]*(?=[a-z*])|\Z)"
)  # fmt: skip
_INTEGER = re.compile(rb"-?\d{1,15}")
#: A Boolean, as written; None is a key that stands alone.
_BOOLEANS = {None: True, b"?1": True, b"?0": False}

#: ``(urgency, incremental)``; None stands for a parameter that is absent or to be ignored.
_Parameters = tuple[int | None, bool | None]
_NO_PARAMETERS: _Parameters = (None, None)

#: Clients use a handful of values: valid or not, short ones that were met are remembered.
_known: dict[bytes, Priority] = {}
_MAX_KNOWN = 256
_MAX_KNOWN_SIZE = 64  # bytes


def parse_priority(value: bytes) -> Priority:
    """The value of a request's ``priority`` field (RFC 9218 §5); never raises.

    Several field lines are one value, joined by commas (RFC 9110 §5.3).
    """
    priority = _known.get(value)
    if priority is None:
        priority = merge_priority(DEFAULT, value)
        if len(value) <= _MAX_KNOWN_SIZE:
            if len(_known) >= _MAX_KNOWN:
                _known.clear()
            _known[value] = priority
    return priority


def merge_priority(client: Priority, value: bytes) -> Priority:
    """The client's priority under the response's own ``priority`` field; never raises.

    The application knows better what it sends, so its parameters win; one that it leaves out
    stays the client's, where a request would mean the default (RFC 9218 §8).
    """
    urgency, incremental = _parameters(value)
    return Priority(
        client.urgency if urgency is None else urgency,
        client.incremental if incremental is None else incremental,
    )


def parse_priority_update(payload: bytes) -> tuple[int, Priority]:
    """``(prioritized stream id, its whole new priority)`` of a PRIORITY_UPDATE (RFC 9218 §7.1).

    Raises RemoteProtocolError, a FRAME_SIZE_ERROR by RFC 9113 §4.2, if the stream id is not
    complete. Which stream may be named, and 0 may not, is for who knows their states to judge.
    """
    if len(payload) < 4:
        raise RemoteProtocolError("PRIORITY_UPDATE too short")
    return int.from_bytes(payload[:4], "big") & 0x7FFF_FFFF, parse_priority(payload[4:])


def _parameters(value: bytes) -> _Parameters:
    urgency: int | None = None
    incremental: bool | None = None
    position = len(value) - len(value.lstrip(b" "))
    while position < len(value):
        member = _MEMBER.match(value, position)
        if member is None:
            return _NO_PARAMETERS
        position = member.end()
        key, item = member.groups()
        # a key that appears again replaces the one before, also by something to be ignored
        if key == b"u":
            urgency = None
            if item is not None and _INTEGER.fullmatch(item) and 0 <= int(item) <= 7:
                urgency = int(item)
        elif key == b"i":
            incremental = _BOOLEANS.get(item)
    return urgency, incremental
