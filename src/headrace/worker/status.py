"""What a worker says to its supervisor, on a pipe of its own. Pure: bytes out, bytes in."""

import msgspec

FRAME_LIMIT = 4096  # bytes with the line end: PIPE_BUF, so that a write is never torn
TEXT_LIMIT = 500  # characters; each may become six bytes of JSON


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """The worker is ready to receive."""

    worker: str
    pid: int


class Beat(msgspec.Struct, frozen=True, tag="beat"):
    """How the worker is doing. Counters are totals, so that a lost frame loses nothing.

    busy    handlers running now
    done    jobs ended, well or badly
    failed  those of them that ended badly
    lag     seconds by which the event loop is late
    """

    busy: int = 0
    done: int = 0
    failed: int = 0
    lag: float = 0.0


class Bye(msgspec.Struct, frozen=True, tag="bye"):
    """The worker ends because it wants to; the last frame. Without it, an exit is a crash."""

    reason: str


Frame = Hello | Beat | Bye

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Frame] = msgspec.json.Decoder(Frame)


def encode(frame: Frame) -> bytes:
    """One line of at most FRAME_LIMIT bytes; texts are cut to fit."""
    match frame:
        case Hello(worker, pid):
            frame = Hello(worker[:TEXT_LIMIT], pid)
        case Bye(reason):
            frame = Bye(reason[:TEXT_LIMIT])
        case Beat():
            pass
    return _encoder.encode(frame) + b"\n"


class Parser:
    """Frames out of whatever arrives; keeps less than FRAME_LIMIT bytes.

    dropped  lines that were no frame
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._rest = b""
        self._skipping = False

    def feed(self, chunk: bytes) -> list[Frame]:
        """The frames that `chunk` completes."""
        *lines, rest = (self._rest + chunk).split(b"\n")
        frames = [frame for line in lines if (frame := self._parse(line)) is not None]
        if len(rest) >= FRAME_LIMIT:  # too long already: all that follows up to the line end is one dropped line
            rest, self._skipping = b"", True
        self._rest = rest
        return frames

    def _parse(self, line: bytes) -> Frame | None:
        if self._skipping or len(line) >= FRAME_LIMIT:
            self._skipping = False
            self.dropped += 1
            return None
        try:
            return _decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self.dropped += 1
            return None
