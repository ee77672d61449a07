"""The portable HTTP/1 engine: h11 splits the field section."""

from __future__ import annotations

import h11

from hyperserver.protocol.events import Headers
from hyperserver.protocol.h1.head import SplitFields

NAME = "h11"
VERSION = h11.__version__

# h11 reads whole requests only. The request line is ours already, so it gets this one, whose
# version does not make a Host line compulsory; that rule is ours too.
_REQUEST_LINE = b"GET / HTTP/1.0\r\n"


def split_fields(block: bytes) -> Headers:
    """Split ``block``; raises ValueError where h11 refuses it."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=len(block) + 64)
    try:
        connection.receive_data(_REQUEST_LINE + block)
        request = connection.next_event()
    except h11.RemoteProtocolError as error:
        raise ValueError(str(error)) from None
    if not isinstance(request, h11.Request):
        raise ValueError("incomplete field section")
    headers = list(request.headers)
    # h11 merges equal Content-Length lines (and lists) into one; we refuse repeats.
    lines = block.lower().count(b"\ncontent-length:") + block[:15].lower().count(b"content-length:")
    if lines > 1:
        raise ValueError("repeated Content-Length")
    return headers


def make_splitter() -> SplitFields:
    """h11 keeps nothing between requests here, so one function serves every connection."""
    return split_fields
