"""Status frames survive whatever comes through the pipe with them."""

import pytest

from headrace.worker.status import FRAME_LIMIT, Beat, Bye, Frame, Hello, Parser, encode

FRAMES: list[Frame] = [Hello("host-mail-1-af", 42), Beat(3, 100, 2, 0.25), Beat(), Bye("limit: 100 messages")]


@pytest.mark.parametrize("frame", FRAMES, ids=str)
def test_frame_is_one_short_line_and_comes_back(frame: Frame) -> None:
    line = encode(frame)
    assert line.count(b"\n") == 1
    assert Parser().feed(line) == [frame]


@pytest.mark.parametrize("text", ["x" * 10_000, "\0" * 10_000, "\n" * 10_000, "💧" * 10_000])
def test_long_texts_are_cut_to_fit_into_a_frame(text: str) -> None:
    for frame in (Bye(text), Hello(text, 2**62)):
        line = encode(frame)
        assert len(line) <= FRAME_LIMIT
        assert len(Parser().feed(line)) == 1


@pytest.mark.parametrize("size", [1, 2, 7, 10_000])
def test_frames_come_back_from_chunks_of_any_size(size: int) -> None:
    stream, parser = b"".join(map(encode, FRAMES)), Parser()
    found = [frame for at in range(0, len(stream), size) for frame in parser.feed(stream[at : at + size])]
    assert found == FRAMES
    assert parser.dropped == 0


@pytest.mark.parametrize(
    ("garbage", "dropped"),
    [
        (b"hello\n", 1),
        (b"\n\n", 2),
        (b"\0\xff\xfe\n", 1),
        (b'{"type":"beat","busy":"many"}\n', 1),
        (b'{"type":"stop"}\n', 1),
        (b'{"type":"hello","worker":"\xff","pid":1}\n', 1),
        (b"[" * 3000 + b"\n", 1),
        (b"x" * (FRAME_LIMIT - 1) + b"\n", 1),
        (b"x" * FRAME_LIMIT + b"\n", 1),
        (b"x" * 10 * FRAME_LIMIT + b"\n", 1),
    ],
    ids=["no JSON", "empty", "no text", "wrong type", "unknown", "bad UTF-8", "deep", "limit", "longer", "very long"],
)
@pytest.mark.parametrize("size", [1000, 100_000])
def test_garbage_is_counted_and_what_follows_is_heard(garbage: bytes, dropped: int, size: int) -> None:
    stream, parser = encode(Beat(1)) + garbage + encode(Beat(2)), Parser()
    found = [frame for at in range(0, len(stream), size) for frame in parser.feed(stream[at : at + size])]
    assert found == [Beat(1), Beat(2)]
    assert parser.dropped == dropped


def test_line_of_exactly_the_limit_is_a_frame() -> None:
    padding = b" " * (FRAME_LIMIT - len(encode(Beat())))
    assert Parser().feed(padding + encode(Beat())) == [Beat()]
    assert Parser().feed(b" " + padding + encode(Beat())) == []
