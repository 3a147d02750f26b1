"""Route and send: from an encoded message to what the transport answered."""

import uuid
from collections.abc import Sequence

import msgspec

from headrace.bus import events
from headrace.bus.context import headers_of
from headrace.bus.envelope import HANDLER_HEADER, Delivery, Duplicate, Envelope, Sent
from headrace.bus.events import Events
from headrace.bus.ids import Ids
from headrace.bus.middleware import AroundDispatch, wrap_dispatch
from headrace.bus.options import Options
from headrace.bus.registry import Handler, MessageType
from headrace.bus.transport import Transport
from headrace.clock import Clock
from headrace.errors import PayloadTooLarge

PAYLOAD_LIMIT = 1 << 20


class Dispatcher:
    """Makes envelopes and sends them through the middleware."""

    def __init__(
        self, ids: Ids, clock: Clock, events_: Events, around: Sequence[AroundDispatch], payload_limit: int
    ) -> None:
        self._ids = ids
        self._clock = clock
        self._events = events_
        self._around = around
        self._payload_limit = payload_limit

    def envelope(self, handler: Handler, body: bytes, options: Options, addressed: bool = False) -> Envelope:
        """One message for one handler; PayloadTooLarge."""
        if len(body) > self._payload_limit:
            raise PayloadTooLarge(
                f"{handler.type} is {len(body):,} bytes when encoded; the limit is {self._payload_limit:,}",
                hint="The job was not queued. Store the content elsewhere and send its key.",
            )
        rules = handler.rules
        headers = {**options.headers, HANDLER_HEADER: handler.name} if addressed else options.headers
        expires = options.expires
        if options.expires_in is not None:
            expires = self._clock.now() + options.expires_in
        return Envelope(
            id=options.id or self._ids.new(),
            type=handler.type,
            body=body,
            queue=options.queue or rules.queue,
            headers=headers,
            priority=rules.priority if options.priority is None else options.priority,
            delay=options.delay,
            at=options.at,
            expires=expires,
            unique=None if options.unique is None else f"{handler.name}:{options.unique}",
            tracked=rules.track if options.track is None else options.track,
        )

    def fan_out(self, kind: MessageType, body: bytes, options: Options) -> list[Envelope]:
        """One envelope for each handler of a message."""
        many = len(kind.handlers) > 1
        made = [self.envelope(handler, body, options, addressed=many) for handler in kind.handlers.values()]
        if many and options.id is not None:
            return [split_id(envelope) for envelope in made]
        return made

    async def send(self, transport: Transport, envelopes: Sequence[Envelope]) -> Sequence[Sent | Duplicate]:
        """Through the middleware to the transport; durable on return."""
        if self._around:
            answers = await wrap_dispatch(self._around, transport.send)(envelopes)
        else:
            answers = await transport.send(envelopes)
        if envelopes and self._events.wanted(events.Sent):
            for queue in dict.fromkeys(envelope.queue for envelope in envelopes):
                of_queue = [envelope for envelope in envelopes if envelope.queue == queue]
                self._events.tell(events.Sent(queue, of_queue))
        return answers


def split_id(envelope: Envelope) -> Envelope:
    """The same envelope under an id made of its own and its handler's, so a second split stores nothing.

    It keeps the original's first 48 bits, the time of a UUIDv7, and so sorts beside it.
    """
    try:
        original = uuid.UUID(envelope.id)
    except ValueError:  # it came without an id of ours; a row's number alone may come again in another table
        parts = (envelope.id, envelope.type, envelope.body.decode("utf-8", "replace"))
        original = uuid.uuid5(uuid.NAMESPACE_URL, "\n".join(parts))
    derived = uuid.uuid5(original, envelope.headers[HANDLER_HEADER])
    return msgspec.structs.replace(envelope, id=str(uuid.UUID(f"{original.hex[:12]}7{derived.hex[13:]}")))


def split(delivery: Delivery, kind: MessageType) -> list[Envelope]:
    """One addressed envelope per handler, from a message that came unaddressed from elsewhere."""
    return [
        split_id(
            Envelope(
                id=delivery.id,
                type=delivery.type,
                body=delivery.body,
                queue=handler.rules.queue,
                headers={**headers_of(delivery), HANDLER_HEADER: handler.name},
                priority=delivery.priority,
                tracked=handler.rules.track,
            )
        )
        for handler in kind.handlers.values()
    ]
