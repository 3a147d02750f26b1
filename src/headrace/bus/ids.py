"""Ids: UUIDv7 (RFC 9562), increasing within a process. Pure: time and chance are arguments."""

from collections.abc import Callable


class Ids:
    """Makes ids from a millisecond clock and a source of random bits."""

    def __init__(self, now: Callable[[], float], randbits: Callable[[int], int]) -> None:
        self._now = now
        self._randbits = randbits
        self._last = 0

    def new(self) -> str:
        """A new id, larger than all that this object made before.

        48 bits of milliseconds, then 12 + 62 random bits; within one millisecond the last id is
        counted up by a random step instead, so that order is kept and ids stay hard to guess.
        """
        value = (int(self._now() * 1000) << 74) | self._randbits(74)
        if value <= self._last:
            value = self._last + 1 + self._randbits(32)
        self._last = value
        high, low = value >> 62, value & ((1 << 62) - 1)
        stamp, rand_a = high >> 12, high & 0xFFF
        bits = (stamp << 80) | (0x7 << 76) | (rand_a << 64) | (0b10 << 62) | low
        text = f"{bits:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
