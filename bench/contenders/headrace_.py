"""headrace itself: the slot, to be filled when the product runs.

What it must do, beyond the interface in `contenders/__init__.py`:

- `work(kind)` is a worker as `headrace work` runs it (same loop, same settings, no limits), in this process: an `App`
  with a task of one argument that calls `probe.noop(n)` or `probe.noop_def(n)`, `track=self.target.ledger`; ends by
  SIGTERM.
  The idle and memory figures are those of this process, so import nothing that a real worker would not.
- `enqueue_one` is `task.aenqueue(n)`, `enqueue_many` is `task.aenqueue_many(…)`, `enqueue_sync` is `task.enqueue(n)`
  from a process without a loop, all with the app's default settings.
- `create()` is what `headrace db upgrade` does; `fill()` is `aenqueue_many` in batches (with `delay` for delayed jobs).
- `unfinished()` may ask the tables: is there a row of headrace_messages that is due?
- `claim_and_settle(limit)` is the transport: time `receive([queue], limit, 0)`, then `settle` them with Ack.
- `work` calls `probe.watch_asyncpg(lambda text: text == CLAIM)` with the product's own claim text, so that the measure
  with an old transaction sees how long each claim takes.
- `written = True`, and `rate` about what it drains.
"""

from . import Contender


class Headrace(Contender):
    store = "postgresql"
    label = "headrace"
    ours = True
    written = False
    distributions = ("headrace", "asyncpg", "uvloop", "msgspec")
    kinds = ("async", "def")
    ledgers = (False, True)
    modes = ("single", "sync", "concurrent", "bulk")
    claims = True
    rate = 25_000


class HeadraceSqlite(Headrace):
    store = "sqlite"
    label = "headrace"
    claims = False
