"""What a supervisor and its zygote say to each other: one JSON text per packet of a SEQPACKET socket."""

import msgspec

PACKET = 65_536  # bytes; longer texts are cut
TEXT_LIMIT = 8_000  # characters of an error; each may become six bytes of JSON


class Seat(msgspec.Struct, frozen=True):
    """Where one worker works.

    worker     its name, unique for ever
    consumer   the group it belongs to
    number     its place in the group
    recorder   path of the flight recorder that it should make
    status_fd  where it writes its status frames; never blocks
    """

    worker: str
    consumer: str
    number: int
    recorder: str
    status_fd: int = -1


# ── to the zygote ─────────────────────────────────────────────────────────────────────────────


class Load(msgspec.Struct, frozen=True, tag="load"):
    """The first order: import the application. `grace`: for the workers when the supervisor is gone."""

    entry: str
    argument: str
    path: tuple[str, ...]
    grace: float


class Fork(msgspec.Struct, frozen=True, tag="fork"):
    """Fork a worker; the write end of its status pipe comes with the packet."""

    seat: Seat


class Send(msgspec.Struct, frozen=True, tag="signal"):
    """Send a signal to a worker (SIGKILL: to its whole process group); ignored when it is gone."""

    worker: str
    signal: int


Order = Load | Fork | Send


# ── to the supervisor ─────────────────────────────────────────────────────────────────────────


class Loaded(msgspec.Struct, frozen=True, tag="loaded"):
    """The application is imported; orders are taken."""


class LoadingFailed(msgspec.Struct, frozen=True, tag="failed"):
    """It is not, and the zygote ends. `text`: the error for a person."""

    text: str


class Forked(msgspec.Struct, frozen=True, tag="forked"):
    """The worker exists."""

    worker: str
    pid: int


class NotForked(msgspec.Struct, frozen=True, tag="not-forked"):
    """The system refused."""

    worker: str
    why: str


class Exited(msgspec.Struct, frozen=True, tag="exited"):
    """The worker is gone, reaped, and its process group with it.

    code    as in subprocess: the exit code, or minus the signal
    memory  most bytes it had resident; 0 when unknown
    """

    worker: str
    code: int
    memory: int = 0


Answer = Loaded | LoadingFailed | Forked | NotForked | Exited

_encoder = msgspec.json.Encoder()
_orders: msgspec.json.Decoder[Order] = msgspec.json.Decoder(Order)
_answers: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)


def encode(said: Order | Answer) -> bytes:
    """One packet."""
    return _encoder.encode(said)


def order(packet: bytes) -> Order:
    """What the supervisor wants."""
    return _orders.decode(packet)


def answer(packet: bytes) -> Answer:
    """What the zygote tells."""
    return _answers.decode(packet)
