"""`python bench/install.py`: the environments of the benchmark, under .cache, from the pins in peers.txt.

One environment for everything, on the Python that runs this. A peer that needs a newer Python gets an environment of
its own on the first one found (PATH, uv, pyenv); when there is none it is not measured, and the benchmark says so.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
CACHE = ROOT / ".cache"
MAIN = CACHE / "bench-venv"
NEWER = CACHE / "bench-venv-oban"
MARKER = re.compile(r'^(?P<what>\S+)\s*;\s*python_version >= "(?P<major>\d+)\.(?P<minor>\d+)"')


def python_of(environment: Path) -> Path:
    return environment / "bin" / "python"


def quiet(*command: str | Path) -> str | None:
    try:
        done = subprocess.run([str(part) for part in command], check=False, capture_output=True, text=True, cwd=ROOT)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def newer_python(major: int, minor: int) -> str | None:
    """An interpreter of at least that version, or None."""
    candidates = [found for m in range(minor, minor + 4) if (found := shutil.which(f"python{major}.{m}"))]
    if found := quiet("uv", "python", "find", f">={major}.{minor}"):
        candidates.append(found)
    if pyenv := quiet("pyenv", "root"):
        candidates += [str(path) for path in sorted(Path(pyenv, "versions").glob(f"{major}.*/bin/python"))]
    test = f"import sys; print(sys.version_info >= ({major}, {minor}) and not sys.flags.dev_mode)"
    return next((one for one in candidates if quiet(one, "-c", test) == "True"), None)


def create(environment: Path, python: str, requirements: list[str]) -> None:
    """Make or refresh one environment; skipped when the same pins are in it already."""
    project = (ROOT / "pyproject.toml").read_text() if environment == MAIN else ""
    wanted = hashlib.sha256("\n".join([python, project, *requirements]).encode()).hexdigest()
    stamp = environment / "bench-pins"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print(
        f"bench: installing {len(requirements)} pinned packages into {environment.relative_to(ROOT)}", file=sys.stderr
    )
    uv = shutil.which("uv")
    listed = environment.with_suffix(".txt")
    environment.parent.mkdir(exist_ok=True)
    listed.write_text("\n".join(requirements) + "\n")
    if uv:
        subprocess.run([uv, "venv", "--quiet", "--allow-existing", "--python", python, environment], check=True)
        install = [uv, "pip", "install", "--quiet", "--python", str(python_of(environment))]
    else:
        subprocess.run([python, "-m", "venv", environment], check=True)
        install = [str(python_of(environment)), "-m", "pip", "install", "--quiet"]
    subprocess.run([*install, "-r", str(listed)], check=True)
    if project and subprocess.run([*install, "-e", str(ROOT)], check=False).returncode != 0:
        print("bench: headrace itself could not be installed, see above; its runs will fail", file=sys.stderr)
        return
    stamp.write_text(wanted)


def main() -> None:
    lines = [line.strip() for line in (BENCH / "peers.txt").read_text().splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    here, later = [], []
    for line in lines:
        found = MARKER.match(line)
        if found and sys.version_info[:2] < (int(found["major"]), int(found["minor"])):
            later.append((found["what"], int(found["major"]), int(found["minor"])))
        else:
            here.append(found["what"] if found else line)
    create(MAIN, os.path.realpath(sys.executable), here)
    if not later:
        if not NEWER.exists():
            NEWER.symlink_to(MAIN.name)
        return
    python = newer_python(max(major for _, major, _ in later), max(minor for _, _, minor in later))
    if python is None:
        print(
            f"bench: no newer Python found, so not installed: {', '.join(what for what, _, _ in later)}",
            file=sys.stderr,
        )
    else:
        shared = [line for line in here if line.startswith(("uvloop", "psycopg"))]
        create(NEWER, python, [*(what for what, _, _ in later), *shared])


if __name__ == "__main__":
    main()
