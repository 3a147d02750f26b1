"""The benchmark: raw limit, headrace and peers, side by side on one machine.

    python bench/run.py [--only drain,enqueue,…] [--contenders raw,pgqueuer,…] [--quick] [--runs 5] [--publish]

Server: HEADRACE_TEST_POSTGRES (default: the local one). Makes databases named headrace_bench_* there and drops them.
Raw data goes to .cache/bench/*.json, the tables to standard output and .cache/bench/latest.md; --publish puts them
into docs/benchmarks.md. Exit code 1 when a target was missed (not with --quick), 2 when a contender failed.
"""

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
CACHE = ROOT / ".cache"
DOCUMENT = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
SETTINGS = ("fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_wal_size")

VERSIONS = """
import importlib.metadata as metadata, platform, sqlite3, sys
def version(name):
    try:
        return name + " " + metadata.version(name)
    except metadata.PackageNotFoundError:
        return name + " (not installed)"
own = ["Python " + platform.python_version(), "SQLite " + sqlite3.sqlite_version]
print(", ".join([*map(version, sys.argv[1:]), *own]))
"""


def enter_environment() -> None:
    """Run on in the benchmark's own environment, made first if need be."""
    if os.environ.get("HEADRACE_BENCH_INSIDE") == "1":
        return
    subprocess.run([sys.executable, BENCH / "install.py"], check=True)
    os.environ["HEADRACE_BENCH_INSIDE"] = "1"
    os.environ["PYTHONPATH"] = str(ROOT / "src")
    python = str(CACHE / "bench-venv" / "bin" / "python")
    os.execv(python, [python, *sys.argv])


def fsync_time() -> float:
    """Median microseconds of an 8 kB write and fdatasync, beside the SQLite files of the benchmark."""
    (CACHE / "bench").mkdir(parents=True, exist_ok=True)
    taken = []
    with tempfile.NamedTemporaryFile(dir=CACHE / "bench") as file:
        for index in range(400):
            began = time.perf_counter()
            os.pwrite(file.fileno(), os.urandom(8192), index * 8192)
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1e6


def python_of(environment: str) -> Path:
    return CACHE / environment / "bin" / "python"


def versions() -> dict[str, str]:
    """What every contender runs on, asked of its own interpreter."""
    from contenders import NAMES, load

    asked: dict[tuple[str, str], dict[str, None]] = {}
    for contender in (load(name) for name in NAMES):
        if contender.written and python_of(contender.environment).exists():
            names = asked.setdefault((contender.label, contender.environment), {})
            names.update(dict.fromkeys(contender.distributions))
    found = {}
    for (label, environment), names in asked.items():
        command = [python_of(environment), "-c", VERSIONS, *names]
        found[label] = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    return found


def absent() -> dict[str, str]:
    """Contenders that cannot run here, and why."""
    from contenders import NAMES, load

    reasons = {}
    for contender in (load(name) for name in NAMES):
        if not contender.written:
            reasons[contender.label] = "its adapter is not written yet"
        elif not python_of(contender.environment).exists():
            reasons[contender.label] = "it needs a newer Python than any found here"
    return reasons


def machine() -> str:
    facts = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.split(":")[1].strip() for line in facts if line.startswith("model name")), platform.machine())
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 2**20
    return f"{os.cpu_count()} cores ({cpu}), {memory:.0f} GiB, {platform.system()} {platform.release()}"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="measures, by name, with commas between: see --list")
    parser.add_argument("--contenders", default="", help="only these, by name, with commas between")
    parser.add_argument("--quick", action="store_true", help="short and small: to see that it works, not to publish")
    parser.add_argument("--runs", type=int, default=0, help="rounds of each measure (default 5, with --quick 2)")
    parser.add_argument("--publish", action="store_true", help="write the tables into docs/benchmarks.md")
    parser.add_argument("--list", action="store_true", help="names of measures and contenders")
    return parser.parse_args()


class Run:
    """The rounds of all measures, and what came out of them."""

    def __init__(self, quick: bool, rounds: int, only: set[str]) -> None:
        from arena import Server
        from measures import Results, Scale

        self.server, self.scale, self.rounds, self.only = Server(), Scale(quick), rounds, only
        self.results: Results = {}
        self.failures: list[str] = []

    def measure(self, name: str, skip: set[str]) -> None:
        """All rounds of one measure: every case once, then all again."""
        from arena import Failed
        from measures import MEASURES

        build, most = MEASURES[name]
        with ExitStack() as stack:
            try:
                cases = [c for c in build(self.server, self.scale, self.only, stack) if c.who not in skip]
            except Failed as problem:
                self._failed(name, problem)
                return
            for number in range(min(self.rounds, most)):
                for case in cases:
                    try:
                        self._note(number, case.who, case.run())
                    except Failed as problem:
                        self._failed(f"{name}, {case.who}", problem)

    def _note(self, number: int, who: str, values: dict[str, float]) -> None:
        import report
        from titles import unit

        for key, value in values.items():
            self.results.setdefault(key, {}).setdefault(who, []).append(value)
            print(f"  {number + 1}  {key:30} {who:22} {report.number(value):>10} {unit(key)}", flush=True)

    def _failed(self, what: str, problem: Exception) -> None:
        self.failures.append(f"{what}: {problem}")
        print(f"  FAILED {what}: {problem}", flush=True)


def facts_of(run: Run) -> dict[str, Any]:
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["python bench/run.py", *sys.argv[1:]]),
        "machine": machine(),
        "server": str(run.server.ask("SELECT split_part(version(), ' ', 2)")),
        "settings": {name: run.server.ask(f"SHOW {name}") for name in SETTINGS},
        "fsync_us_before": fsync_time(),
        "versions": versions(),
        "quick": run.scale.quick,
        "runs": run.rounds,
    }


def keep(run: Run, facts: dict[str, Any], publish: bool) -> None:
    """Raw data, the tables, and if asked for the document."""
    import report

    text = report.markdown(facts, run.results)
    raw = {"facts": facts, "results": run.results, "failures": run.failures}
    (CACHE / "bench" / f"{datetime.now(UTC):%Y%m%dT%H%M%S}.json").write_text(json.dumps(raw, indent=1))
    (CACHE / "bench" / "latest.md").write_text(text)
    print("\n" + text)
    if publish:
        before, _, rest = DOCUMENT.read_text().partition(BEGIN)
        DOCUMENT.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}")


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was made is taken away again
    options = arguments()
    import report
    from contenders import NAMES, load
    from measures import MEASURES

    if options.list:
        print("measures:  ", ", ".join(MEASURES))
        print("contenders:", ", ".join(dict.fromkeys(load(name).label for name in NAMES)))
        return 0
    wanted = [name for name in options.only.split(",") if name] or list(MEASURES)
    if unknown := sorted(set(wanted) - set(MEASURES)):
        print(f"unknown measure {', '.join(unknown)}; there are {', '.join(MEASURES)}", file=sys.stderr)
        return 2
    if options.publish and options.quick:
        print("a quick run is not for publication", file=sys.stderr)
        return 2
    only = {name for name in options.contenders.split(",") if name}
    run = Run(options.quick, options.runs or (2 if options.quick else 5), only)
    facts = facts_of(run)
    print(report.heading(facts))
    skip = absent()
    for label, reason in skip.items():
        print(f"- not measured: {label}: {reason}")
    for name in wanted:
        print(f"\n== {name}", flush=True)
        run.measure(name, set(skip))
    facts["fsync_us_after"] = fsync_time()
    keep(run, facts, options.publish)
    return 2 if run.failures else int(report.missed(run.results) and not options.quick)


if __name__ == "__main__":
    enter_environment()
    sys.exit(main())
