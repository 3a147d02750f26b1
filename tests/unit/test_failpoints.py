"""Named places where a test may make the program break."""

from collections.abc import Iterator

import pytest

from headrace.failpoints import arm, armed, failpoint


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    arm("")


def test_unarmed_place_does_nothing() -> None:
    failpoint("settle.before")

    assert not armed()


def test_armed_place_raises_at_each_pass() -> None:
    arm("settle.before=raise")

    for _ in range(2):
        with pytest.raises(OSError, match=r"settle\.before"):
            failpoint("settle.before")
    failpoint("settle.mid")
    assert armed()


def test_place_fires_at_one_pass_only() -> None:
    arm(" send.mid = raise @ 2 ; settle.mid=raise@1")

    failpoint("send.mid")
    with pytest.raises(OSError, match=r"send\.mid"):
        failpoint("send.mid")
    failpoint("send.mid")
    with pytest.raises(OSError, match=r"settle\.mid"):
        failpoint("settle.mid")


def test_arming_again_replaces() -> None:
    arm("a=raise")
    arm("b=raise")

    failpoint("a")
    arm("")
    failpoint("b")


def test_delay_and_nonsense() -> None:
    arm("slow=sleep:0; odd=dance")

    failpoint("slow")
    with pytest.raises(ValueError, match="dance"):
        failpoint("odd")
