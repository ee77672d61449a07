"""The fields of a response, as many responses share them.

A list can have no subclass among what is compiled, so this has a file of its own.
"""

from __future__ import annotations


class ResponseFields(list[tuple[bytes, bytes]]):
    """Validated response fields, which know which of them steer the message.

    Many responses may share one, so nobody changes it. ``content_length`` is the value of that
    field, or None; ``steers`` is true where another of ``fields.RESPONSE_STEERING`` is present;
    ``written`` is for an engine to remember what it wrote them as, ``longer`` is the copy that was
    last made by ``with_content_length``: most applications answer with the same length again.
    """

    __slots__ = ("content_length", "longer", "steers", "written")

    content_length: int | None
    steers: bool
    written: bytes | None
    longer: ResponseFields | None

    def with_content_length(self, length: int) -> ResponseFields:
        """A copy that says how long the body is."""
        copy = self.longer
        if copy is not None and copy.content_length == length:
            return copy
        copy = self.longer = ResponseFields(self)
        copy.append((b"content-length", b"%d" % length))
        copy.content_length = length
        copy.steers = self.steers
        copy.written = copy.longer = None
        return copy
