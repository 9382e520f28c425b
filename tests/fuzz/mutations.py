"""What happens to a valid conversation on its way to the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fuzz.conversations import conversation

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

__all__ = ["mutated"]

ODD = (b"\0", b"\r", b"\n", b"\r\n", b" ", b"\t", b":", b"\xff", b"\x80", b"-1", b"0" * 40, b"%")
H2_HEAD = 9


def mutated(pieces: list[bytes], random: Random) -> list[bytes]:
    """`pieces` after one to three mutations, or, once in a while, as they are."""
    pieces = list(pieces)
    for _ in range(random.choice((0, 1, 1, 1, 2, 3))):
        if not pieces:
            break
        random.choice(MUTATIONS)(pieces, random)
    return pieces


def flip_bits(pieces: list[bytes], random: Random) -> None:
    at = random.randrange(len(pieces))
    data = bytearray(pieces[at])
    for _ in range(random.randint(1, 4) if data else 0):
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    pieces[at] = bytes(data)


def truncate(pieces: list[bytes], random: Random) -> None:
    """The client stops in the middle."""
    at = random.randrange(len(pieces))
    pieces[at] = pieces[at][: random.randint(0, len(pieces[at]))]
    del pieces[at + 1 :]


def shorten(pieces: list[bytes], random: Random) -> None:
    """A piece lacks some bytes, and the rest follows all the same."""
    at = random.randrange(len(pieces))
    pieces[at] = pieces[at][: random.randint(0, len(pieces[at]))]


def drop(pieces: list[bytes], random: Random) -> None:
    del pieces[random.randrange(len(pieces))]


def duplicate(pieces: list[bytes], random: Random) -> None:
    at = random.randrange(len(pieces))
    times = random.choice((1, 1, 2, 50, 2000 if len(pieces[at]) < 40 else 5))
    pieces[at:at] = [pieces[at]] * times


def swap(pieces: list[bytes], random: Random) -> None:
    one, other = random.randrange(len(pieces)), random.randrange(len(pieces))
    pieces[one], pieces[other] = pieces[other], pieces[one]


def insert(pieces: list[bytes], random: Random) -> None:
    at = random.randrange(len(pieces))
    cut = random.randint(0, len(pieces[at]))
    odd = random.choice((*ODD, random.randbytes(random.randint(1, 64))))
    pieces[at] = pieces[at][:cut] + odd + pieces[at][cut:]


def splice(pieces: list[bytes], random: Random) -> None:
    """What comes then is from another conversation, of the same protocol or not."""
    other = conversation(random).pieces
    pieces[random.randrange(len(pieces)) :] = other[random.randrange(len(other)) :]


def reframe(pieces: list[bytes], random: Random) -> None:
    """Length, kind, flags or stream of what may be an HTTP/2 frame; else likewise a head's bytes."""
    at = random.randrange(len(pieces))
    data = bytearray(pieces[at])
    if len(data) >= H2_HEAD:
        field = random.choice(((0, 3), (3, 4), (4, 5), (5, 9)))
        value = random.choice((0, 1, 255, random.getrandbits(8)))
        for index in range(*field):
            data[index] = random.choice((0, value, data[index]))
        pieces[at] = bytes(data)


def repeat_number(pieces: list[bytes], random: Random) -> None:
    """A frame comes again on another stream."""
    at = random.randrange(len(pieces))
    data = bytearray(pieces[at])
    if len(data) >= H2_HEAD:
        data[8] = random.randrange(256)
        pieces.insert(random.randint(0, len(pieces)), bytes(data))


MUTATIONS: tuple[Callable[[list[bytes], Random], None], ...] = (
    flip_bits,
    flip_bits,
    truncate,
    shorten,
    drop,
    duplicate,
    swap,
    insert,
    splice,
    reframe,
    reframe,
    repeat_number,
)
