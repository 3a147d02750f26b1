"""UUIDv7: version, variant, time and order."""

import uuid
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as some

from headrace.bus.ids import Ids

HIGHEST = 2**48 / 1000  # seconds; the year 10889


def test_id_is_the_example_of_rfc_9562() -> None:
    text = Ids(lambda: 1_645_557_742.0, lambda _: 0xCC3 << 62 | 0x18C4_DC0C_0C07_398F).new()

    assert text == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"


@pytest.mark.parametrize("bits", [0, (1 << 74) - 1])
def test_all_random_bits_alike_leave_version_and_variant_alone(bits: int) -> None:
    made = uuid.UUID(Ids(lambda: 1.0, lambda _: bits).new())

    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == 1000


@given(some.lists(some.tuples(some.floats(0, HIGHEST - 1), some.integers(0, 2**74 - 1)), max_size=50))
def test_ids_only_grow_whatever_the_clock_and_the_dice_do(story: list[tuple[float, int]]) -> None:
    moments = [moment for moment, _ in story]
    dice = [bits for _, bits in story]
    now, chance = iter(moments), iter(dice)
    ids = Ids(lambda: next(now), lambda count: next(chance, 0) & (1 << count) - 1 if count == 74 else 0)

    made = [ids.new() for _ in story]

    assert all(a < b for a, b in pairwise(made))
    assert all(uuid.UUID(text).version == 7 and uuid.UUID(text).variant == uuid.RFC_4122 for text in made)


def test_first_id_may_be_the_smallest() -> None:
    assert Ids(lambda: 0.001, lambda _: 0).new() == "00000000-0001-7000-8000-000000000000"


def test_ids_of_one_millisecond_are_hard_to_guess() -> None:
    asked: list[int] = []

    def bits(count: int) -> int:
        asked.append(count)
        return 5

    ids = Ids(lambda: 1.0, bits)
    first, second, third = (uuid.UUID(ids.new()).int for _ in range(3))

    assert (second - first, third - second) == (6, 6)
    assert asked == [74, 74, 32, 74, 32]
