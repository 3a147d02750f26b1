"""What each value is called in the tables, and its unit. Pure."""

TITLES: dict[str, tuple[str, str]] = {  # key: (what, unit); a key that is missing here is not shown
    "drain.pg.1": ("drain, 1 process, ledger off, `async def`", "jobs/s"),
    "drain.pg.1.def": ("drain, 1 process, ledger off, `def`", "jobs/s"),
    "drain.pg.1.ledger": ("drain, 1 process, ledger on, `async def`", "jobs/s"),
    "drain.pg.1.ledger.def": ("drain, 1 process, ledger on, `def`", "jobs/s"),
    "drain.pg.2": ("drain, 2 processes, ledger off", "jobs/s"),
    "drain.pg.2.ledger": ("drain, 2 processes, ledger on", "jobs/s"),
    "drain.sqlite": ("SQLite drain, 1 process, ledger off", "jobs/s"),
    "drain.sqlite.def": ("SQLite drain, ledger off, `def`", "jobs/s"),
    "drain.sqlite.ledger": ("SQLite drain, ledger on", "jobs/s"),
    "drain.sqlite.ledger.def": ("SQLite drain, ledger on, `def`", "jobs/s"),
    **{
        f"enqueue.{store}.{mode}{tail}": (
            f"{title}, {'SQLite, ' if store == 'sqlite' else ''}ledger {'on' if tail else 'off'}",
            "jobs/s",
        )
        for store in ("pg", "sqlite")
        for mode, title in (
            ("single", "enqueue, one at a time, `await`"),
            ("sync", "enqueue, one at a time, sync"),
            ("concurrent", "enqueue, 100 coroutines"),
            ("bulk", "enqueue, 1,000 a call"),
        )
        for tail in ("", ".ledger")
    },
    **{
        f"latency.{scene}.p{share}": (f"enqueue to start at 50 jobs/s, {title}, p{share}", "ms")
        for scene, title in (
            ("pg", "PostgreSQL"),
            ("pg.ledger", "PostgreSQL, ledger on"),
            ("pg.delayed", "PostgreSQL, many delayed jobs"),
            ("sqlite", "SQLite"),
            ("sqlite.ledger", "SQLite, ledger on"),
        )
        for share in (50, 99)
    },
    "claim.10k": ("claim of 100, 10,000 ready", "rows/s"),
    "claim.1m": ("claim of 100, large backlog ready", "rows/s"),
    "claim.delayed": ("claim of 100, beside a large delayed backlog", "rows/s"),
    "claim.10k.p50": ("the same, median claim, 10,000 ready", "ms"),
    "claim.1m.p50": ("the same, median claim, large backlog", "ms"),
    "claim.delayed.p50": ("the same, median claim, delayed backlog", "ms"),
    "xmin.p50": ("old transaction held, 5,000 jobs/s: worst 5 s window's median claim", "ms"),
    "xmin.rate": ("old transaction held: jobs/s started (5,000 offered)", "jobs/s"),
    **{
        f"idle.{store}.{what}": (f"idle worker, {name}: {title}", unit)
        for store, name in (("pg", "PostgreSQL"), ("sqlite", "SQLite"))
        for what, title, unit in (
            ("cpu", "CPU", "% of a core"),
            ("transactions", "transactions", "/s"),
            ("rss", "resident", "MiB"),
        )
    },
    "growth.pg": ("memory growth, PostgreSQL", "bytes/job"),
    "growth.sqlite": ("memory growth, SQLite", "bytes/job"),
    "growth.pg.rss": ("resident after them, PostgreSQL", "MiB"),
    "growth.sqlite.rss": ("resident after them, SQLite", "MiB"),
}


def unit(key: str) -> str:
    return TITLES[key][1]
