"""The one bridge from blocking callers to the async core: a loop in a thread, made when first used."""

import asyncio
import atexit
import importlib.util
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from headrace.errors import BlockingCall

T = TypeVar("T")


def new_loop() -> asyncio.AbstractEventLoop:
    """Uvloop's where it is installed, else the standard one."""
    if importlib.util.find_spec("uvloop") is not None:
        import uvloop

        return uvloop.new_event_loop()
    return asyncio.new_event_loop()


class Bridge:
    """Runs coroutines to their end for callers that cannot await.

    The loop lives in a daemon thread; a forked child starts its own.
    """

    def __init__(self, on_exit: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._on_exit = on_exit
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def call(self, make: Callable[[], Coroutine[Any, Any, T]], instead: str) -> T:
        """The result of the coroutine; BlockingCall inside a running loop (use `instead`)."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run_coroutine_threadsafe(make(), self._running()).result()
        raise BlockingCall("a blocking call inside a running event loop would stop it", hint=f"write: await {instead}")

    def close(self) -> None:
        """Close what the loop holds, and end the thread."""
        loop, thread, self._loop = self._loop, self._thread, None
        if loop is not None and thread is not None and thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._on_exit(), loop).result(5)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(5)
            loop.close()

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._thread is None or not self._thread.is_alive():
                self._loop = new_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="headrace-bridge", daemon=True)
                self._thread.start()
                atexit.register(self.close)
            return self._loop
