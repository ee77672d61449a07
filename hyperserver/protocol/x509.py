"""Reading X.509 certificates and revocation lists (RFC 5280): names and dates, no signatures.

OpenSSL verifies; what it does not tell through ``ssl`` is read here: which hosts a certificate of
our own is for and until when, and a client's name as RFC 4514 writes it. Only as much DER (X.690)
is understood as that takes. Everything raises ValueError and nothing else, whatever it is given.
"""

from __future__ import annotations

import binascii
import ipaddress
import re
from dataclasses import dataclass

_INTEGER, _BITS, _OCTETS, _OID = 0x02, 0x03, 0x04, 0x06
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18
_SEQUENCE, _SET = 0x30, 0x31
_VERSION, _EXTENSIONS = 0xA0, 0xA3  # [0] and [3] of a TBSCertificate
_DNS_NAME, _IP_ADDRESS = 0x82, 0x87  # [2] and [7] of a GeneralName

_SUBJECT_ALT_NAME = bytes((0x55, 0x1D, 0x11))
_RSA = bytes.fromhex("2a864886f70d010101")
_EC = bytes.fromhex("2a8648ce3d0201")
_KEY_TYPES = {
    _RSA: "RSA",
    bytes.fromhex("2a864886f70d01010a"): "RSA-PSS",
    _EC: "EC",
    bytes((0x2B, 0x65, 0x70)): "Ed25519",
    bytes((0x2B, 0x65, 0x71)): "Ed448",
}
_CURVES = {
    bytes.fromhex("2a8648ce3d030107"): "P-256",
    bytes((0x2B, 0x81, 0x04, 0x00, 0x22)): "P-384",
    bytes((0x2B, 0x81, 0x04, 0x00, 0x23)): "P-521",
}

#: How strings are encoded, by their tag; other kinds of value are written in hexadecimal.
_STRINGS = {
    0x0C: "utf-8",
    0x12: "ascii",
    0x13: "ascii",
    0x14: "latin-1",
    0x16: "ascii",
    0x1A: "ascii",
    0x1C: "utf-32-be",
    0x1E: "utf-16-be",
}
#: The short names that RFC 4514 §3 demands, and others that are registered for LDAP (RFC 4520).
_SHORT_NAMES = {
    "2.5.4.3": "CN",
    "2.5.4.4": "sn",
    "2.5.4.5": "serialNumber",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "STREET",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "2.5.4.12": "title",
    "2.5.4.42": "givenName",
    "0.9.2342.19200300.100.1.1": "UID",
    "0.9.2342.19200300.100.1.25": "DC",
    "1.2.840.113549.1.9.1": "emailAddress",
}
_ESCAPED = re.compile(r'["+,;<>\\]')

_PEM = re.compile(
    rb"-----BEGIN ([A-Z0-9 ]+)-----[ \t]*\r?\n(.*?)-----END \1-----", re.ASCII | re.DOTALL
)


@dataclass(frozen=True, slots=True)
class X509:
    """What a certificate says. Times are in seconds since 1970, UTC.

    ``names`` are its DNS names in lower case and ``addresses`` its IP addresses, of the subject
    alternative names alone: no client of today looks at the common name. ``subject`` and ``issuer``
    are DER, to be compared and to be given to ``rfc4514``. ``key_type`` is "RSA", "RSA-PSS",
    "EC", "Ed25519", "Ed448" or an object identifier; ``curve`` is "P-256", "P-384", "P-521", or
    None for others; ``key_bits`` is an RSA modulus's length, else 0.
    """

    subject: bytes
    issuer: bytes
    not_before: float
    not_after: float
    names: tuple[str, ...]
    addresses: tuple[str, ...]
    key_type: str
    curve: str | None
    key_bits: int


def parse_certificate(der: bytes) -> X509:
    """The certificate in ``der``. Raises ValueError."""
    tbs = _signed_part(der)
    if tbs.peek() == _VERSION:
        tbs.take(_VERSION)
    tbs.take(_INTEGER)  # its serial number
    tbs.take(_SEQUENCE)  # the signature's algorithm
    issuer = tbs.take_whole(_SEQUENCE)
    validity = tbs.enter(_SEQUENCE)
    not_before, not_after = _time(validity), _time(validity)
    subject = tbs.take_whole(_SEQUENCE)
    key_type, curve, key_bits = _public_key(tbs.enter(_SEQUENCE))
    names: list[str] = []
    addresses: list[str] = []
    while tbs.left:
        if tbs.peek() == _EXTENSIONS:
            _read_extensions(tbs.enter(_EXTENSIONS), names, addresses)
        else:
            tbs.skip()
    return X509(
        subject,
        issuer,
        not_before,
        not_after,
        tuple(names),
        tuple(addresses),
        key_type,
        curve,
        key_bits,
    )


def crl_expiry(der: bytes) -> float | None:
    """When the revocation list in ``der`` should have been replaced; None if it does not say.
    Raises ValueError.
    """
    tbs = _signed_part(der)
    if tbs.peek() == _INTEGER:
        tbs.take(_INTEGER)  # its version
    tbs.take(_SEQUENCE)  # the signature's algorithm
    tbs.take(_SEQUENCE)  # its issuer
    _time(tbs)
    if tbs.left and tbs.peek() in (_UTC_TIME, _GENERALIZED_TIME):
        return _time(tbs)
    return None


def pem_blocks(pem: bytes, kind: str) -> list[bytes]:
    """The contents, as DER, of all blocks of this ``kind`` ("CERTIFICATE"). Raises ValueError."""
    try:
        return [
            binascii.a2b_base64(b"".join(block[2].split()), strict_mode=True)
            for block in _PEM.finditer(pem)
            if block[1] == kind.encode()
        ]
    except binascii.Error as error:
        raise ValueError(f"invalid base64: {error}") from None


def pem_encode(der: bytes, kind: str = "CERTIFICATE") -> str:
    """A PEM block (RFC 7468)."""
    text = binascii.b2a_base64(der, newline=False).decode()
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return "\n".join((f"-----BEGIN {kind}-----", *lines, f"-----END {kind}-----", ""))


# ---- distinguished names -----------------------------------------------------------------------


def rfc4514(name: bytes) -> str:
    """A distinguished name (DER) as a string: the last part first (RFC 4514). Raises ValueError."""
    outer = _Reader(name)
    sequence = outer.enter(_SEQUENCE)
    if outer.left:
        raise ValueError("bytes behind the name")
    parts: list[str] = []
    while sequence.left:
        part = sequence.enter(_SET)
        attributes = [_attribute(part.enter(_SEQUENCE))]
        while part.left:
            attributes.append(_attribute(part.enter(_SEQUENCE)))
        parts.append("+".join(attributes))
    return ",".join(reversed(parts))


def _attribute(pair: _Reader) -> str:
    kind = _dotted(pair.take(_OID))
    short = _SHORT_NAMES.get(kind)
    tag = pair.peek()
    whole = pair.take_whole(tag)
    if pair.left:
        raise ValueError("bytes behind an attribute")
    if short is not None and tag in _STRINGS:
        try:
            return f"{short}={_escape(_Reader(whole).take(tag).decode(_STRINGS[tag]))}"
        except UnicodeDecodeError:
            pass
    return f"{short or kind}=#{whole.hex()}"  # §2.4


def _escape(value: str) -> str:
    escaped = _ESCAPED.sub(r"\\\g<0>", value).replace("\0", "\\00")
    if escaped.startswith(("#", " ")):
        escaped = "\\" + escaped
    if value.endswith(" ") and len(value) > 1:
        escaped = escaped[:-1] + "\\ "
    return escaped


def _dotted(oid: bytes) -> str:
    """An object identifier with dots."""
    if not oid or oid[-1] & 0x80:
        raise ValueError("an object identifier that does not end")
    numbers: list[int] = []
    value = 0
    for octet in oid:
        value = value << 7 | octet & 0x7F
        if value >= 1 << 64:
            raise ValueError("an object identifier out of bounds")
        if not octet & 0x80:
            numbers.append(value)
            value = 0
    first = min(numbers[0] // 40, 2)
    return ".".join(str(number) for number in (first, numbers[0] - 40 * first, *numbers[1:]))


# ---- parts of a certificate --------------------------------------------------------------------


def _signed_part(der: bytes) -> _Reader:
    """What a certificate or revocation list has signed."""
    return _Reader(der).enter(_SEQUENCE).enter(_SEQUENCE)


def _time(reader: _Reader) -> float:
    """RFC 5280 §4.1.2.5: UTCTime until 2049, GeneralizedTime from then on, both in Zulu."""
    tag = reader.peek()
    text = reader.take(tag)
    if tag == _UTC_TIME and len(text) == 13:
        text = (b"19" if text[:2] >= b"50" else b"20") + text
    elif tag != _GENERALIZED_TIME or len(text) != 15:
        raise ValueError("not a time")
    if text[-1:] != b"Z" or not text[:-1].isdigit():
        raise ValueError("not a time in Zulu")
    year, month, day = int(text[:4]), int(text[4:6]), int(text[6:8])
    hour, minute, second = int(text[8:10]), int(text[10:12]), int(text[12:14])
    if not (1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second < 61):
        raise ValueError("not a time of any day")
    return float(_days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)


def _days(year: int, month: int, day: int) -> int:
    """Days from 1970 on in the Gregorian calendar, whose years are best begun in March."""
    if month < 3:
        year, month = year - 1, month + 12
    leap_days = year // 4 - year // 100 + year // 400
    return 365 * year + leap_days + (153 * (month - 3) + 2) // 5 + day - 719_469


def _public_key(info: _Reader) -> tuple[str, str | None, int]:
    """The type of a SubjectPublicKeyInfo, its curve, and an RSA modulus's bits."""
    algorithm = info.enter(_SEQUENCE)
    oid = algorithm.take(_OID)
    kind = _KEY_TYPES.get(oid)
    curve = None
    bits = 0
    if oid == _EC and algorithm.left and algorithm.peek() == _OID:
        curve = _CURVES.get(algorithm.take(_OID))
    elif kind is not None and kind.startswith("RSA"):
        key = info.take(_BITS)
        bits = int.from_bytes(_Reader(key[1:]).enter(_SEQUENCE).take(_INTEGER)).bit_length()
    return kind or _dotted(oid), curve, bits


def _read_extensions(wrapped: _Reader, names: list[str], addresses: list[str]) -> None:
    """Add the subject alternative names (RFC 5280 §4.2.1.6)."""
    extensions = wrapped.enter(_SEQUENCE)
    while extensions.left:
        extension = extensions.enter(_SEQUENCE)
        if extension.take(_OID) != _SUBJECT_ALT_NAME:
            continue
        while extension.left and extension.peek() != _OCTETS:
            extension.skip()  # that it is critical
        alternatives = _Reader(extension.take(_OCTETS)).enter(_SEQUENCE)
        while alternatives.left:
            tag = alternatives.peek()
            value = alternatives.take(tag)
            if tag == _DNS_NAME:
                names.append(_ascii(value).lower().removesuffix("."))
            elif tag == _IP_ADDRESS:
                addresses.append(str(ipaddress.ip_address(value)))


def _ascii(value: bytes) -> str:
    if not value.isascii():
        raise ValueError("a name that is not ASCII")
    return value.decode()


class _Reader:
    """Takes values off one level of DER; what is cut short or ambiguous raises ValueError."""

    __slots__ = ("_data", "_end", "_position")

    def __init__(self, data: bytes, position: int = 0, end: int | None = None) -> None:
        self._data = data
        self._position = position
        self._end = len(data) if end is None else end

    @property
    def left(self) -> int:
        return self._end - self._position

    def peek(self) -> int:
        """The tag of the next value."""
        if self._position >= self._end:
            raise ValueError("a value is missing")
        return self._data[self._position]

    def _next(self, tag: int) -> tuple[int, int]:
        """Where the content of the next value begins and ends; it must have this tag."""
        data, at, end = self._data, self._position, self._end
        if end - at < 2 or data[at] != tag or tag & 0x1F == 0x1F:
            raise ValueError(f"expected a value with the tag {tag:#x} at byte {at}")
        size = data[at + 1]
        start = at + 2
        if size > 0x80:  # RFC 5280 needs no more than three bytes of length
            start += size - 0x80
            if size > 0x84 or start > end:
                raise ValueError(f"a length out of bounds at byte {at}")
            size = int.from_bytes(data[at + 2 : start])
        elif size == 0x80:
            raise ValueError(f"an indefinite length at byte {at}")
        if size > end - start:
            raise ValueError(f"the value at byte {at} is cut short")
        self._position = start + size
        return start, start + size

    def take(self, tag: int) -> bytes:
        """The content of the next value."""
        start, end = self._next(tag)
        return self._data[start:end]

    def take_whole(self, tag: int) -> bytes:
        """The next value, tag and length included."""
        begin = self._position
        _, end = self._next(tag)
        return self._data[begin:end]

    def enter(self, tag: int) -> _Reader:
        """The values within the next one."""
        start, end = self._next(tag)
        return _Reader(self._data, start, end)

    def skip(self) -> None:
        self._next(self.peek())
