"""The only door to chance: jitter and the random bits of ids. Nothing secret is made here."""

import random


def roll() -> float:
    """Uniform in [0, 1)."""
    return random.random()


def bits(count: int) -> int:
    """`count` random bits."""
    return random.getrandbits(count)
