"""Which response fields are left out of HPACK's dynamic table (RFC 7541 §2.3.2, §7.1)."""

from __future__ import annotations

#: Fields that are sent as literals which nobody keeps. The first are secrets, which must not be found
#: by guessing at compressed sizes (RFC 7541 §7.1.3); the others differ from message to message, or
#: from second to second, and would only push out of the table what does not.
NEVER_INDEXED = frozenset(
    (
        b"set-cookie",
        b"authorization",
        b"proxy-authorization",
        b"cookie",
        b"content-length",
        b"content-range",
        b"date",
        b"etag",
        b"last-modified",
        b"location",
        b"age",
    )
)
