"""Route and send; middleware and events around it."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from headrace.bus import events
from headrace.bus.context import Context
from headrace.bus.dispatch import Dispatcher, split
from headrace.bus.envelope import Delivery, Duplicate, Envelope, Receipt, Sent, Settlement
from headrace.bus.events import Events
from headrace.bus.ids import Ids
from headrace.bus.middleware import AroundDispatch, Send, wrap_dispatch, wrap_handler
from headrace.bus.options import NO_OPTIONS, options
from headrace.bus.registry import Handler, Registry, Rules
from headrace.clock import ManualClock
from headrace.errors import PayloadTooLarge
from tests.support.bus import ID, a_delivery, an_envelope

NOW = 1_700_000_000.0


@dataclass
class Paid:
    order: int


def greet(name: str) -> None: ...
def receipt(message: Paid) -> None: ...
def parcel(message: Paid) -> None: ...


class Shelf:
    """A transport that stores everything once."""

    def __init__(self) -> None:
        self.stored: list[Envelope] = []

    async def send(self, envelopes: Sequence[Envelope]) -> Sequence[Sent | Duplicate]:
        self.stored += envelopes
        return [Sent(envelope.id) for envelope in envelopes]

    async def receive(self, queues: Sequence[str], limit: int, wait: float) -> Sequence[Delivery]:
        return []

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[Receipt]:
        return []

    async def aclose(self) -> None: ...


def a_dispatcher(around: Sequence[AroundDispatch] = (), heard: Events | None = None, limit: int = 100) -> Dispatcher:
    clock = ManualClock(NOW)
    return Dispatcher(Ids(clock.now, lambda _: 7), clock, heard or Events(), around, limit)


def a_handler(**rules: Any) -> Handler:
    return Handler.of_task("shop.greet", greet, Rules(**rules))[0]


# ── envelopes ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("rules", "chosen", "field", "value"),
    [
        ({"queue": "mail"}, {}, "queue", "mail"),
        ({"queue": "mail"}, {"queue": "slow"}, "queue", "slow"),
        ({"priority": 7}, {}, "priority", 7),
        ({"priority": 7}, {"priority_": 0}, "priority", 0),
        ({"track": False}, {}, "tracked", False),
        ({"track": False}, {"track": True}, "tracked", True),
        ({"track": True}, {"track": False}, "tracked", False),
        ({}, {"delay": "10s"}, "delay", 10.0),
        ({}, {"unique": "ada"}, "unique", "shop.greet:ada"),
        ({}, {}, "unique", None),
        ({}, {"expires": "1m"}, "expires", NOW + 60),
        ({}, {"expires": 0}, "expires", NOW),
        ({}, {}, "expires", None),
        ({}, {"headers": {"a": "b"}}, "headers", {"a": "b"}),
        ({}, {"id_": ID}, "id", ID),
    ],
)
def test_call_decides_where_it_says_so_else_the_task(
    rules: dict[str, Any], chosen: dict[str, Any], field: str, value: object
) -> None:
    envelope = a_dispatcher().envelope(a_handler(**rules), b"{}", options(**chosen))

    assert getattr(envelope, field) == value


@pytest.mark.parametrize(("size", "fits"), [(99, True), (100, True), (101, False)])
def test_payload_limit(size: int, fits: bool) -> None:
    dispatcher = a_dispatcher(limit=100)

    if fits:
        assert dispatcher.envelope(a_handler(), b"x" * size, NO_OPTIONS).body == b"x" * size
    else:
        with pytest.raises(PayloadTooLarge, match="101 bytes when encoded; the limit is 100"):
            dispatcher.envelope(a_handler(), b"x" * size, NO_OPTIONS)


def test_each_envelope_has_its_own_id() -> None:
    dispatcher = a_dispatcher()

    made = [dispatcher.envelope(a_handler(), b"", NO_OPTIONS).id for _ in range(3)]

    assert made == sorted(set(made))


def a_registry(*functions: Any) -> Registry:
    registry = Registry()
    for function in functions:
        rules = Rules(queue=function.__name__, track=function is receipt)
        registry.add_handler(Paid, "shop.Paid", function, f"shop.{function.__name__}", rules)
    return registry


def test_message_for_one_handler_is_not_addressed() -> None:
    [envelope] = a_dispatcher().fan_out(a_registry(receipt).of_class(Paid), b"{}", NO_OPTIONS)

    assert (envelope.type, envelope.queue, dict(envelope.headers)) == ("shop.Paid", "receipt", {})


def test_message_for_one_handler_keeps_the_id_that_was_chosen() -> None:
    [envelope] = a_dispatcher().fan_out(a_registry(receipt).of_class(Paid), b"{}", options(id_=ID))

    assert envelope.id == ID


def test_message_for_several_handlers_is_addressed_to_each() -> None:
    chosen = options(headers={"a": "b"}, unique="k", id_=ID)

    made = a_dispatcher().fan_out(a_registry(receipt, parcel).of_class(Paid), b"{}", chosen)

    assert [envelope.headers for envelope in made] == [
        {"a": "b", "handler": "shop.receipt"},
        {"a": "b", "handler": "shop.parcel"},
    ]
    assert [envelope.queue for envelope in made] == ["receipt", "parcel"]
    assert [envelope.unique for envelope in made] == ["shop.receipt:k", "shop.parcel:k"]
    assert len({ID, *(envelope.id for envelope in made)}) == 3


def test_splitting_twice_makes_the_same_ids() -> None:
    kind = a_registry(receipt, parcel).of_class(Paid)
    delivery = a_delivery(type="shop.Paid", body=b'{"order":1}', headers='{"a":"b"}', priority=9)

    first, second = split(delivery, kind), split(delivery, kind)

    assert [envelope.id for envelope in first] == [envelope.id for envelope in second]
    assert len({envelope.id for envelope in first}) == 2
    assert all(uuid.UUID(envelope.id) for envelope in first)
    assert [(e.priority, e.queue, e.tracked, e.body) for e in first] == [
        (9, "receipt", True, b'{"order":1}'),
        (9, "parcel", False, b'{"order":1}'),
    ]
    assert first[1].headers == {"a": "b", "handler": "shop.parcel"}


def test_message_without_an_id_of_ours_is_split_too() -> None:
    kind = a_registry(receipt, parcel).of_class(Paid)

    made = split(a_delivery(id="row-7", type="shop.Paid"), kind)

    assert len({str(uuid.UUID(envelope.id)) for envelope in made}) == 2


# ── middleware ───────────────────────────────────────────────────────────────────────────────


def a_layer(name: str, seen: list[str]) -> AroundDispatch:
    async def layer(envelopes: Sequence[Envelope], send: Send) -> Sequence[Sent | Duplicate]:
        seen.append(f"{name} in")
        answers = await send(envelopes)
        seen.append(f"{name} out")
        return answers

    return layer


async def test_first_layer_around_a_dispatch_is_outermost() -> None:
    seen: list[str] = []

    await wrap_dispatch([a_layer("a", seen), a_layer("b", seen)], Shelf().send)([an_envelope()])

    assert seen == ["a in", "b in", "b out", "a out"]


async def test_first_layer_around_a_handler_is_outermost() -> None:
    seen: list[str] = []
    context = Context(a_delivery(), ManualClock(), 0.0, None, None)

    def a_handler_layer(name: str) -> Any:
        async def layer(given: Context, handle: Any) -> Any:
            assert given is context
            seen.append(f"{name} in")
            result = await handle()
            seen.append(f"{name} out")
            return f"{name}({result})"

        return layer

    async def handle() -> str:
        seen.append("handler")
        return "done"

    result = await wrap_handler([a_handler_layer("a"), a_handler_layer("b")], context, handle)()

    assert seen == ["a in", "b in", "handler", "b out", "a out"]
    assert result == "a(b(done))"


async def test_layer_may_drop_change_and_answer_instead() -> None:
    async def swallow(envelopes: Sequence[Envelope], send: Send) -> Sequence[Sent | Duplicate]:
        return [Duplicate("another")]

    shelf = Shelf()

    answers = await a_dispatcher([swallow]).send(shelf, [an_envelope()])

    assert (answers, shelf.stored) == ([Duplicate("another")], [])


# ── events ───────────────────────────────────────────────────────────────────────────────────


async def test_sent_is_told_once_for_each_queue() -> None:
    told: list[events.Sent] = []
    of_b: list[events.Sent] = []
    heard = Events()
    heard.listen(events.Sent, told.append)
    heard.listen(events.Sent, of_b.append, "b")

    await a_dispatcher(heard=heard).send(Shelf(), [an_envelope(queue=queue) for queue in ("a", "b", "a")])

    assert [(event.queue, len(event.envelopes)) for event in told] == [("a", 2), ("b", 1)]
    assert [event.queue for event in of_b] == ["b"]


async def test_nothing_sent_is_nothing_told() -> None:
    told: list[object] = []
    heard = Events()
    heard.listen(events.Sent, told.append)

    await a_dispatcher(heard=heard).send(Shelf(), [])

    assert told == []


def test_event_reaches_only_listeners_of_its_kind_and_queue() -> None:
    heard, seen = Events(), []
    heard.listen(events.Reconnected, lambda event: seen.append(("all", event.queue)))
    heard.listen(events.Reconnected, lambda event: seen.append(("a", event.queue)), "a")
    heard.listen(events.ConnectionLost, lambda event: seen.append(("lost", event.queue)))

    heard.tell(events.Reconnected("a", 1.0))
    heard.tell(events.Reconnected("b", 1.0))

    assert seen == [("all", "a"), ("a", "a"), ("all", "b")]
    assert heard.wanted(events.ConnectionLost)
    assert not heard.wanted(events.Started)
