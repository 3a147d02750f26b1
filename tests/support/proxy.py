"""A TCP proxy that delays, swallows, resets and cuts; it stands in front of a real server.

It runs in a thread of its own, so a test may block while it works:

    with Proxy(5432) as proxy:
        ...connect to proxy.port...
        proxy.set(BlackHole(), where=b"LISTEN")
"""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

REMEMBERED = 1 << 18  # bytes of a link's requests kept for `where`
NO_LINGER = (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close() sends RST


@dataclass(frozen=True)
class Pass:
    """Nothing is wrong."""


@dataclass(frozen=True)
class Delay:
    """Every chunk comes this much later, in both directions."""

    seconds: float


@dataclass(frozen=True)
class BlackHole:
    """Nothing passes and nobody is told; what was held back passes when the mode changes."""


@dataclass(frozen=True)
class Reset:
    """Links are reset, new ones too."""


@dataclass(frozen=True)
class Cut:
    """Reset one link, once, then behave; `proxy.fired` tells. Exactly one of:

    messages  after this many more server messages (PostgreSQL's framing), at least 1
    size      after this many more bytes of the server
    request   instead of passing on what contains this: it was never sent
    reply_to  instead of the first answer to what contains this: done, and the answer is lost
    """

    messages: int | None = None
    size: int | None = None
    request: bytes | None = None
    reply_to: bytes | None = None


Mode = Pass | Delay | BlackHole | Reset | Cut
Inspect = Callable[[Mode, bytes], int | None]  # cut after so many bytes of the chunk; None: not


class Messages:
    """Finds the ends of PostgreSQL's server messages; the answer to an SSL request is one byte."""

    def __init__(self) -> None:
        self._rest = b""
        self._greeting = True

    def feed(self, chunk: bytes) -> list[int]:
        """Where messages end in `chunk`."""
        before, ends, at = len(self._rest), [], 0
        stream = self._rest + chunk
        while length := self._length(stream[at : at + 5]):
            if at + length > len(stream):
                break
            at += length
            ends.append(at - before)
        self._rest = stream[at:]
        return ends

    def _length(self, head: bytes) -> int:
        if self._greeting and head[:1] in {b"N", b"S"}:
            return 1
        self._greeting = self._greeting and not head
        return 1 + int.from_bytes(head[1:]) if len(head) == 5 else 0


class Link:
    """One client's connection through the proxy; `ends` are its two writers."""

    def __init__(self, proxy: "Proxy", client: asyncio.StreamWriter) -> None:
        self.proxy = proxy
        self.ends = [client]
        self.requests = b""
        self._answer_is_lost = False
        self._messages = Messages()

    def reset(self) -> None:
        """Both ends see a reset, not an end."""
        for end in self.ends:
            if not end.is_closing():
                end.get_extra_info("socket").setsockopt(*NO_LINGER)
            end.transport.abort()

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, inspect: Inspect) -> None:
        """Pass on what `inspect` lets through, until an end closes or the link is cut."""
        while chunk := await reader.read(65536):
            mode = await self.proxy.passage(self)
            if isinstance(mode, Delay):
                await asyncio.sleep(mode.seconds)  # noqa: TID251 - the delay is the fault
            length = inspect(mode, chunk)
            writer.write(chunk[:length])
            await writer.drain()
            if length is not None:
                self.proxy.fire(self)
                return
        writer.close()

    def request(self, mode: Mode, chunk: bytes) -> int | None:
        self.requests = (self.requests + chunk)[:REMEMBERED]
        if isinstance(mode, Cut):
            if mode.request is not None and mode.request in chunk:
                return 0
            self._answer_is_lost |= mode.reply_to is not None and mode.reply_to in chunk
        return None

    def answer(self, mode: Mode, chunk: bytes) -> int | None:
        ends = self._messages.feed(chunk)
        if self._answer_is_lost:
            return 0
        match mode:
            case Cut(messages=int(left)) if left <= len(ends):
                return ends[left - 1]
            case Cut(messages=int(left)):
                self.proxy.count_down(Cut(messages=left - len(ends)))
            case Cut(size=int(left)) if left <= len(chunk):
                return left
            case Cut(size=int(left)):
                self.proxy.count_down(Cut(size=left - len(chunk)))
        return None


class Proxy:
    """Listens on a free port of loopback, from `with` to its end."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.port = 0
        self.fired = threading.Event()
        self._upstream = (host, port)
        self._mode: Mode = Pass()
        self._where = b""
        self._present: set[Link] | None = None
        self._links: set[Link] = set()
        self._changed, self._over = asyncio.Event(), asyncio.Event()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="proxy")

    def __enter__(self) -> Self:
        self._thread.start()
        self._listening.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    def set(self, mode: Mode, where: bytes = b"", *, present: bool = False) -> None:
        """Behave like this from now on, towards the links whose client has sent `where`.

        present  only towards those that are open now: new ones pass
        """
        asyncio.run_coroutine_threadsafe(self._set(mode, where, present), self._loop).result()

    @property
    def links(self) -> int:
        """How many connections are open."""
        return len(self._links)

    async def passage(self, link: Link) -> Mode:
        """The mode for this link, once it lets anything pass."""
        while isinstance(mode := self._mode_for(link), BlackHole):
            await self._changed.wait()
        return mode

    def count_down(self, cut: Cut) -> None:
        self._mode = cut

    def fire(self, link: Link) -> None:
        self._mode = Pass()
        link.reset()
        self.fired.set()

    def _mode_for(self, link: Link) -> Mode:
        concerned = self._where in link.requests and (self._present is None or link in self._present)
        return self._mode if concerned else Pass()

    async def _set(self, mode: Mode, where: bytes, present: bool) -> None:
        self._mode, self._where = mode, where
        self._present = set(self._links) if present else None
        self.fired.clear()
        self._changed.set()
        self._changed = asyncio.Event()
        for link in [link for link in self._links if isinstance(self._mode_for(link), Reset)]:
            link.reset()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._listening.set()
        await self._over.wait()
        server.close()
        for link in self._links:
            link.reset()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link(self, writer)
        self._links.add(link)
        try:
            if isinstance(self._mode_for(link), Reset):
                return
            far_reader, far_writer = await asyncio.open_connection(*self._upstream)
            link.ends.append(far_writer)
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(link.pump(reader, far_writer, link.request))
                pumps.create_task(link.pump(far_reader, writer, link.answer))
        except* OSError:
            pass  # an end is gone: that is what this proxy is for
        finally:
            link.reset()
            self._links.discard(link)
