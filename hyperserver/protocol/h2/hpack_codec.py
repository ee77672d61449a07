"""HPACK between the ``h2`` library and us.

``h2`` calls these in place of the ``hpack`` package's own decoder and encoder. Two reasons:

* Field sections are ours to judge. ``h2`` ends the connection over a request that only its stream
  deserves to lose, so the decoder keeps what it decoded for the engine and shows ``h2`` nothing.
* Clients and applications repeat themselves. A block that changed nothing in the dynamic table
  will, as long as that table stays as it is, mean the same again; looking it up costs a tenth of
  decoding or encoding it again.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Generic, TypeVar

import hpack
from h2.errors import ErrorCodes
from h2.exceptions import DenialOfServiceError, ProtocolError
from hpack import NeverIndexedHeaderTuple
from hpack.hpack import encode_integer
from hpack.table import HeaderTable

from hyperserver.protocol.events import Headers
from hyperserver.protocol.h2.indexing import NEVER_INDEXED

#: Blocks remembered for a connection, and the size of the largest worth it.
_MAX_MEMO = 64
_MAX_BLOCK = 2048
#: A peer's SETTINGS_HEADER_TABLE_SIZE may ask us to hold any amount; we hold this much.
_MAX_ENCODER_TABLE = 4096


_Key = TypeVar("_Key", bound=Hashable)
_Meaning = TypeVar("_Meaning")


class CompressionError(ProtocolError):
    """The block cannot be decoded: the connection is lost (RFC 9113 §4.3)."""

    error_code = ErrorCodes.COMPRESSION_ERROR


class Queue(list[Any]):
    """What ``collections.deque`` is used for by the libraries. A deque begins with 700 bytes, and they
    have more than a dozen for each connection, of few elements if any.
    """

    __slots__ = ()

    def appendleft(self, element: object) -> None:
        self.insert(0, element)

    def popleft(self) -> Any:
        return self.pop(0)


class _Memo(Generic[_Key, _Meaning]):
    """What blocks mean, or are, for as long as the dynamic table stays as it is."""

    __slots__ = ("_known", "_length", "_maxsize", "_newest", "_table", "get")

    def __init__(self, table: HeaderTable) -> None:
        self._table = table
        self._known: dict[_Key, _Meaning] = {}
        self.get = self._known.get
        self.clear()

    def clear(self) -> None:
        """The table is as it is from here on; entries are only ever added at its front."""
        self._known.clear()
        entries = self._table.dynamic_entries
        self._maxsize = self._table.maxsize
        self._length = len(entries)
        self._newest = entries[0] if entries else None

    def remember(self, key: _Key, meaning: _Meaning, size: int) -> None:
        """Keep it, unless its block of ``size`` bytes has changed the table."""
        entries = self._table.dynamic_entries
        unchanged = (
            len(entries) == self._length
            and (entries[0] if entries else None) is self._newest
            and self._table.maxsize == self._maxsize
        )
        if not unchanged:
            self.clear()
        elif size <= _MAX_BLOCK:
            if len(self._known) >= _MAX_MEMO:
                self._known.clear()
            self._known[key] = meaning


class FieldDecoder:
    """Stands for ``hpack.Decoder``; ``decoded`` is the last field section."""

    def __init__(self, max_list_size: int) -> None:
        self._decoder = hpack.Decoder(max_list_size)
        self._decoder.header_table.dynamic_entries = Queue()  # type: ignore[assignment]
        self._memo: _Memo[bytes, Headers] = _Memo(self._decoder.header_table)
        self.decoded: Headers = []
        #: ``h2`` sets this to the limit that we announce. Ours is the larger one given above: what
        #: lies between is answered, and only what exceeds both ends the connection.
        self.max_header_list_size = max_list_size
        self.max_allowed_table_size = self._decoder.max_allowed_table_size

    def rest(self) -> None:
        """Remember nothing but the dynamic table."""
        self.decoded = []
        self._memo.clear()

    def decode(self, block: bytes, raw: bool = True) -> Headers:
        """Decode for the engine; what is returned is for ``h2``, and empty."""
        known = self._memo.get(block)
        if known is not None:
            self.decoded = known
            return []
        try:
            decoded = self._decoder.decode(block, raw=True)
        except hpack.OversizedHeaderListError as error:
            raise DenialOfServiceError(str(error)) from error
        except (hpack.HPACKError, IndexError, TypeError, ValueError) as error:
            raise CompressionError(str(error)) from error
        self.decoded = [(bytes(name), bytes(value)) for name, value in decoded]
        self._memo.remember(bytes(block), self.decoded, len(block))
        return []


class FieldEncoder:
    """Stands for ``hpack.Encoder``."""

    def __init__(self) -> None:
        self._encoder = hpack.Encoder()
        self._encoder.header_table.dynamic_entries = Queue()  # type: ignore[assignment]
        self._memo: _Memo[tuple[tuple[bytes, bytes], ...], bytes] = _Memo(
            self._encoder.header_table
        )
        self._sizes: list[int] = []  # of the table, since the last block

    @property
    def header_table_size(self) -> int:
        return self._encoder.header_table_size

    @header_table_size.setter
    def header_table_size(self, size: int) -> None:
        """The peer has set its limit: use that much, or what we are willing to hold."""
        size = min(size, _MAX_ENCODER_TABLE)
        table = self._encoder.header_table
        if size != table.maxsize or self._sizes:
            table.maxsize = size
            self._sizes.append(size)
            self._memo.clear()

    def rest(self) -> None:
        """Remember nothing but the dynamic table."""
        self._memo.clear()

    def _size_updates(self) -> bytes:
        """The smallest size since the last block, and the final one (RFC 7541 §4.2)."""
        table = self._encoder.header_table
        table.resized = False  # hpack itself loses a size that was set in between
        self._encoder.table_size_changes.clear()
        sizes = dict.fromkeys((min(self._sizes), self._sizes[-1]))
        self._sizes.clear()
        updates = b""
        for size in sizes:
            number = encode_integer(size, 5)
            number[0] |= 0x20
            updates += bytes(number)
        return updates

    def encode(self, headers: Headers) -> bytes:
        key = tuple(headers)
        known = self._memo.get(key)
        if known is not None:
            return known
        updates = self._size_updates() if self._sizes else b""
        block: bytes = updates + self._encoder.encode(
            [
                NeverIndexedHeaderTuple(*field) if field[0] in NEVER_INDEXED else field
                for field in headers
            ]
        )
        if updates:
            self._memo.clear()  # the same fields are a block without updates the next time
        else:
            self._memo.remember(key, block, len(block))
        return block
