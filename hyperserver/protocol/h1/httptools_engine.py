"""The fast HTTP/1 engine: llhttp, through httptools, splits the field section."""

from __future__ import annotations

import httptools

from hyperserver.protocol.events import Headers
from hyperserver.protocol.h1.head import SplitFields

NAME = "httptools"
VERSION = httptools.__version__

# llhttp reads whole requests only. The request line is ours already (llhttp knows a fixed list
# of methods), so it gets this one; a method with which a request without framing ends at once.
_REQUEST_LINE = b"GET / HTTP/1.1\r\n"


class _Section:
    """What httptools calls; apart from the splitter, which has the parser: the parser keeps this, and
    nothing is to be left for the garbage collector.
    """

    __slots__ = ("headers",)

    def __init__(self) -> None:
        self.headers: Headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called once per field line."""
        self.headers.append((name.lower(), value))


class _Splitter:
    """One parser for many field sections, as long as each is a complete message to llhttp.

    A section that announces a body leaves llhttp waiting for it. Bodies are not its business,
    so the connection asks for a new splitter then.
    """

    __slots__ = ("_feed", "_section")

    def __init__(self) -> None:
        self._section = _Section()
        self._renew()

    def _renew(self) -> None:
        self._feed = httptools.HttpRequestParser(self._section).feed_data

    def __call__(self, block: bytes) -> Headers:
        headers = self._section.headers = []
        if block.find(b" \r\n") >= 0 or block.find(b"\t") >= 0:  # `in` costs four times as much
            # llhttp keeps trailing white space, and refuses some of it in framing fields
            if b"\n " in block or b"\n\t" in block or block[:1] in (b" ", b"\t"):
                # stripped, an indented line of nothing else would end the section early
                raise ValueError("folded or indented header line")
            block = b"\r\n".join([line.rstrip(b" \t") for line in block.split(b"\r\n")])
        try:
            self._feed(_REQUEST_LINE + block)
        except httptools.HttpParserUpgrade:
            self._renew()
        except httptools.HttpParserError:
            # llhttp may have taken the section before for the last on its connection (it obeys
            # Proxy-Connection: close); only a parser without a past says what it makes of this
            headers = self._section.headers = []
            self._renew()
            try:
                self._feed(_REQUEST_LINE + block)
            except httptools.HttpParserUpgrade:
                self._renew()
            except httptools.HttpParserError as error:
                raise ValueError(str(error)) from None
        return headers


def make_splitter() -> SplitFields:
    """A splitter for field sections up to the first that announces a body."""
    return _Splitter()
