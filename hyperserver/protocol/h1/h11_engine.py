"""The portable HTTP/1 engine: h11 splits the field section."""

from __future__ import annotations

import re

import h11

from hyperserver.errors import RemoteProtocolError
from hyperserver.protocol.events import Headers
from hyperserver.protocol.h1.head import SplitFields, check_block

NAME = "h11"
VERSION = h11.__version__

# h11 reads whole requests only. The request line is ours already, so it gets this one, whose
# version does not make a Host line compulsory; that rule is ours too.
_REQUEST_LINE = b"GET / HTTP/1.0\r\n"

_FRAMING = (b"content-length", b"transfer-encoding")
_FRAMING_LINE = re.compile(
    rb"^(?:content-length|transfer-encoding):([^\r\n]*)", re.IGNORECASE | re.MULTILINE
)


def split_fields(block: bytes) -> Headers:
    """Split ``block``; raises ValueError where h11 refuses it."""
    try:
        check_block(block)  # h11 lets most control bytes pass
    except RemoteProtocolError as error:
        raise ValueError(error.reason) from None
    if b"\n " in block or b"\n\t" in block or block[:1] in (b" ", b"\t"):
        raise ValueError("folded or indented header line")  # which h11 would unfold
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=len(block) + 64)
    try:
        connection.receive_data(_REQUEST_LINE + block)
        request = connection.next_event()
    except h11.RemoteProtocolError as error:
        raise ValueError(str(error)) from None
    if not isinstance(request, h11.Request):
        raise ValueError("incomplete field section")
    headers = list(request.headers)
    # h11 rewrites these values and merges equal ones into one; we want what was sent
    sent = _FRAMING_LINE.findall(block)
    if sent:
        values = iter(sent)
        headers = [
            (name, next(values).strip(b" \t") if name in _FRAMING else value)
            for name, value in headers
        ]
        if next(values, None) is not None:
            raise ValueError("repeated framing field")
    return headers


def make_splitter() -> SplitFields:
    """h11 keeps nothing between requests here, so one function serves every connection."""
    return split_fields
