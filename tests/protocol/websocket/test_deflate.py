from __future__ import annotations

import random
import time
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperserver.protocol.websocket.deflate import Agreement, Deflate, DeflateOptions, negotiate
from hyperserver.protocol.websocket.frames import WebSocketFault

TAIL = b"\x00\x00\xff\xff"
MAXIMAL = DeflateOptions(15)
NAME = "permessage-deflate"


def answer(header: str, options: DeflateOptions = MAXIMAL) -> tuple[str, set[str]] | None:
    """What the server answers: the extension's name and its parameters."""
    agreement = negotiate(header, options)
    if agreement is None:
        return None
    name, *parameters = (part.strip() for part in agreement.response().decode().split(";"))
    assert len(set(parameters)) == len(parameters)
    return name, set(parameters)


# ---- negotiation (RFC 7692 §5, §7.1) ------------------------------------------------------


@pytest.mark.parametrize(
    ("offer", "parameters"),
    [
        ("", set()),
        ("; server_no_context_takeover", {"server_no_context_takeover"}),
        ("; client_no_context_takeover", {"client_no_context_takeover"}),
        ("; server_max_window_bits=15", {"server_max_window_bits=15"}),
        ("; server_max_window_bits=9", {"server_max_window_bits=9"}),
        ('; server_max_window_bits="10"', {"server_max_window_bits=10"}),
        ("; client_max_window_bits", set()),
        ("; client_max_window_bits=15", set()),
        ("; client_max_window_bits=8", {"client_max_window_bits=8"}),
        ("; client_max_window_bits=10", {"client_max_window_bits=10"}),
        ('; client_max_window_bits="10"', {"client_max_window_bits=10"}),
        (
            (
                ";client_max_window_bits=9 ;\tserver_max_window_bits = 10;"
                "server_no_context_takeover  ; client_no_context_takeover"
            ),
            {
                "client_max_window_bits=9",
                "server_max_window_bits=10",
                "server_no_context_takeover",
                "client_no_context_takeover",
            },
        ),
    ],
)
def test_an_offer_that_can_be_met(offer: str, parameters: set[str]) -> None:
    """Its server_* parameters bind us; a window of 15 bits is what there is without a word."""
    assert answer(NAME + offer) == (NAME, parameters)


@pytest.mark.parametrize(
    "offer",
    [
        "; unknown",
        "; unknown=1",
        "; server_max_window_bits",  # §7.1.2.1: it has a value
        "; server_max_window_bits=8",  # zlib cannot deflate with it
        "; server_max_window_bits=7",
        "; server_max_window_bits=16",
        "; server_max_window_bits=010",
        "; server_max_window_bits=+10",
        "; server_max_window_bits=1e1",
        "; server_max_window_bits=-10",
        "; server_max_window_bits=ten",
        '; server_max_window_bits=""',
        "; server_max_window_bits=",
        "; client_max_window_bits=7",
        "; client_max_window_bits=16",
        "; client_max_window_bits=09",
        "; client_max_window_bits=x",
        '; client_max_window_bits=" 10"',
        "; server_no_context_takeover=1",
        "; server_no_context_takeover=true",
        '; client_no_context_takeover="1"',
        "; server_no_context_takeover; server_no_context_takeover",
        "; client_no_context_takeover; client_no_context_takeover",
        "; server_max_window_bits=10; server_max_window_bits=10",
        "; client_max_window_bits; client_max_window_bits=10",
        "; client_max_window_bits; unknown; server_no_context_takeover",
    ],
)
def test_an_offer_that_is_declined_and_the_next_one_taken(offer: str) -> None:
    """RFC 7692 §7.1: parameters that are not defined, repeated or invalid decline the offer."""
    assert answer(NAME + offer) is None
    assert answer(f"{NAME}{offer}, {NAME}; client_no_context_takeover") == (
        NAME,
        {"client_no_context_takeover"},
    )
    assert answer(f"foo, {NAME}{offer}, bar; a=b; c, {NAME}") == (NAME, set())


def test_the_first_offer_that_can_be_met_is_taken() -> None:
    header = f"{NAME}; server_max_window_bits=9, {NAME}; server_max_window_bits=15"
    assert answer(header) == (NAME, {"server_max_window_bits=9"})


@pytest.mark.parametrize(
    "header",
    ["", ",", " , ,", "x-webkit-deflate-frame", "deflate", f"x{NAME}", f"{NAME}x", ";", "="],
)
def test_other_extensions_are_passed_over(header: str) -> None:
    assert answer(header) is None
    assert answer(f"{header}, {NAME}") == (NAME, set())


def test_commas_within_quotes_do_not_part_offers() -> None:
    assert answer(f'foo; a="x, {NAME}; b"') is None


@pytest.mark.parametrize("bits", range(9, 16))
def test_what_we_want_is_said(bits: int) -> None:
    """Unasked, server_max_window_bits may be (§7.1.2.1), client_max_window_bits may not be."""
    own = {f"server_max_window_bits={bits}"} if bits < 15 else set()
    assert answer(NAME, DeflateOptions(bits)) == (NAME, own)
    both = own | ({f"client_max_window_bits={bits}"} if bits < 15 else set())
    assert answer(f"{NAME}; client_max_window_bits", DeflateOptions(bits)) == (NAME, both)
    assert answer(f"{NAME}; client_max_window_bits=15", DeflateOptions(bits)) == (NAME, both)


def test_the_smaller_window_is_taken() -> None:
    offer = f"{NAME}; client_max_window_bits=13; server_max_window_bits=13"
    for wanted, agreed in ((12, 12), (13, 13), (14, 13)):
        agreement = negotiate(offer, DeflateOptions(wanted))
        assert agreement is not None
        assert agreement.server_window_bits == agreement.client_window_bits == agreed
        assert answer(offer, DeflateOptions(wanted)) == (
            NAME,
            {f"client_max_window_bits={agreed}", f"server_max_window_bits={agreed}"},
        )


def test_a_client_that_names_no_window_may_use_all_of_it() -> None:
    agreement = negotiate(NAME, DeflateOptions(9))
    assert agreement is not None and agreement.client_window_bits == 15


def test_no_takeover_may_be_asked_of_both_unasked() -> None:
    """§7.1.1.1, §7.1.1.2: a server may say so whatever was offered."""
    assert answer(NAME, DeflateOptions(15, context_takeover=False)) == (
        NAME,
        {"server_no_context_takeover", "client_no_context_takeover"},
    )


tokens = st.sampled_from(
    [
        NAME,
        "server_max_window_bits",
        "client_max_window_bits",
        "server_no_context_takeover",
        "client_no_context_takeover",
        *('"', ",", ";", "=", " ", "\t", "8", "9", "10", "15", "16", '"10"', "\\", "é", "\x00"),
    ]
)


@given(st.lists(tokens).map("".join), st.integers(9, 15), st.booleans())
def test_any_header_is_answered_within_the_rules_or_not_at_all(
    header: str, bits: int, takeover: bool
) -> None:
    options = DeflateOptions(bits, context_takeover=takeover)
    agreement = negotiate(header, options)
    if agreement is not None:
        assert NAME in header
        assert 9 <= agreement.server_window_bits <= bits
        assert 8 <= agreement.client_window_bits <= 15
        if "client_max_window_bits" not in header:
            assert b"client_max_window_bits" not in agreement.response()
        Deflate(agreement).deflate(b"x" * 40)


@pytest.mark.parametrize(
    "header",
    [
        '"' * 60_001,
        ("x" + '"') * 30_001,
        NAME + "; a" * 20_000 + "!(",
        NAME + ";a" + " " * 60_000 + "(",
        " " * 60_000 + "(",
        (NAME + ";") * 3_000,
        (NAME + "; server_max_window_bits=8, ") * 1_300,
        'a="' + "\\" * 60_000,
        ";" * 60_000,
        "," * 60_000,
        '",' * 30_000,
    ],
)
def test_no_header_takes_long(header: str) -> None:
    began = time.process_time()
    negotiate(header, MAXIMAL)
    assert time.process_time() - began < 0.5


# ---- deflating ----------------------------------------------------------------------------


def agree(
    server_bits: int = 15, client_bits: int = 15, *, server: bool = True, client: bool = True
) -> Agreement:
    return Agreement(server_bits, client_bits, server_takeover=server, client_takeover=client)


@pytest.mark.parametrize("bits", range(9, 16))
def test_no_more_than_the_agreed_window_is_used(bits: int) -> None:
    """An inflater with that window, and no larger one, must do."""
    deflate = Deflate(agree(bits))
    inflater = zlib.decompressobj(-bits)
    chance = random.Random(bits)
    block = chance.randbytes(2 ** (bits - 1))
    for message in (block + block, block, chance.randbytes(2**15) + block, block * 3):
        assert inflater.decompress(deflate.deflate(message) + TAIL) == message


def test_a_window_is_carried_on_or_not_as_agreed() -> None:
    message = random.Random(1).randbytes(1000)
    carried = Deflate(agree())
    assert len(carried.deflate(message)) > 1000
    assert len(carried.deflate(message)) < 100
    fresh = Deflate(agree(server=False))
    assert fresh.deflate(message) == fresh.deflate(message)
    assert zlib.decompressobj(-15).decompress(fresh.deflate(message) + TAIL) == message


def test_a_message_leaves_out_its_tail() -> None:
    for message in (b"Hello" * 10, bytes(100_000), random.Random(2).randbytes(100_000)):
        assert not Deflate(agree()).deflate(message).endswith(TAIL)


# ---- inflating ----------------------------------------------------------------------------


def inflate(deflate: Deflate, *payloads: bytes, room: int = 1_000_000) -> bytes:
    message = b""
    for i, payload in enumerate(payloads):
        ends = i == len(payloads) - 1
        for chunk in deflate.inflate(payload, room - len(message), ends=ends):
            assert chunk
            message += chunk
    return message


HELLO = bytes.fromhex("f248cdc9c90700")


@pytest.mark.parametrize(
    ("payloads", "expected"),
    [
        (["f248cdc9c90700"], b"Hello"),  # §7.2.3.1
        (["f248cd", "c9c90700"], b"Hello"),
        (["f2", "48", "cd", "c9", "c9", "07", "00"], b"Hello"),
        (["f248cdc9c90700", ""], b"Hello"),
        (["000500faff48656c6c6f00"], b"Hello"),  # §7.2.3.3: a stored block
        (["f348cdc9c9070000"], b"Hello"),  # §7.2.3.4: a final block
        (["f348cdc9", "c9070000"], b"Hello"),
        (["f248050000 00ffff cac9c90700"], b"Hello"),  # §7.2.3.5: two blocks
        (["00"], b""),  # §7.2.3.6: nothing
        (["", "00"], b""),
    ],
)
def test_the_examples_of_the_rfc(payloads: list[str], expected: bytes) -> None:
    assert inflate(Deflate(agree()), *map(bytes.fromhex, payloads)) == expected


def test_a_window_of_the_client_is_carried_on_or_not_as_agreed() -> None:
    again = bytes.fromhex("f200110000")  # refers to the message before
    carried = Deflate(agree())
    assert inflate(carried, HELLO) == inflate(carried, again) == b"Hello"
    fresh = Deflate(agree(client=False))
    assert inflate(fresh, HELLO) == inflate(fresh, HELLO) == b"Hello"
    with pytest.raises(WebSocketFault) as caught:
        inflate(fresh, again)
    assert caught.value.code == 1007


@pytest.mark.parametrize("bits", range(9, 16))
def test_every_window_a_client_may_use(bits: int) -> None:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -bits)
    deflate = Deflate(agree(client_bits=bits))
    block = random.Random(bits).randbytes(2 ** (bits - 1))
    for message in (block + block, block, block * 3):
        data = deflater.compress(message) + deflater.flush(zlib.Z_SYNC_FLUSH)
        assert inflate(deflate, data.removesuffix(TAIL)) == message


def test_a_window_of_8_bits_is_inflated() -> None:
    """RFC 7692 knows it, and zlib's inflater as well: here without a distance beyond it."""
    deflate = Deflate(agree(client_bits=8))
    assert inflate(deflate, HELLO) == b"Hello"
    assert inflate(deflate, bytes.fromhex("f200110000")) == b"Hello"


@pytest.mark.parametrize("payload", ["ff", "0600", "0000000000"])
def test_what_is_not_deflate(payload: str) -> None:
    with pytest.raises(WebSocketFault) as caught:
        inflate(Deflate(agree()), bytes.fromhex(payload))
    assert caught.value.code == 1007


@pytest.mark.parametrize("room", [0, 1, 4, 5, 6])
def test_room_is_exact(room: int) -> None:
    deflate = Deflate(agree())
    if room >= 5:
        assert inflate(deflate, HELLO, room=room) == b"Hello"
        return
    with pytest.raises(WebSocketFault) as caught:
        inflate(deflate, HELLO, room=room)
    assert caught.value.code == 1009


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537, 131_072, 200_000])
@pytest.mark.parametrize("spare", [0, 1, 1000])
def test_nothing_is_left_behind_at_the_ends_of_chunks(size: int, spare: int) -> None:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    deflate = Deflate(agree())
    for message in (bytes(size), b"next", random.Random(3).randbytes(size), b"last"):
        data = deflater.compress(message) + deflater.flush(zlib.Z_SYNC_FLUSH)
        room = len(message) + spare
        assert inflate(deflate, data.removesuffix(TAIL), room=room) == message


def test_a_chain_of_final_blocks_has_an_end() -> None:
    """Each costs a new inflater; a client that flushes so needs one for each message."""
    one = bytes.fromhex("f348cdc9c90700")
    with pytest.raises(WebSocketFault):
        inflate(Deflate(agree()), one * 1000 + b"\x00")
    deflate = Deflate(agree())
    for _ in range(1000):
        assert inflate(deflate, one + b"\x00") == b"Hello"


@given(st.lists(st.binary(max_size=40), max_size=5), st.integers(0, 2000))
def test_anything_is_inflated_or_refused(payloads: list[bytes], room: int) -> None:
    deflate = Deflate(agree())
    try:
        size = len(inflate(deflate, *payloads, b"", room=room))
    except WebSocketFault as refused:
        fault: int | None = refused.code
    else:
        fault = None
        assert size <= room
    assert fault in {None, 1007, 1009}
