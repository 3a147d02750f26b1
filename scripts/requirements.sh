#!/usr/bin/env bash
# Pins what is installed, with hashes and without naming an index: docs/decisions/0001.
# Needs uv; run it after a change of the dependencies in pyproject.toml. `--upgrade` takes newer versions.
set -euo pipefail
cd "$(dirname "$0")/.."
compile() {
  local into=$1; shift
  uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
    --no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command scripts/requirements.sh --output-file "$into" "$@"
}
compile requirements/base.txt --group build "$@"
compile requirements/dev.txt --group dev --extra postgres --extra fast --constraint requirements/base.txt "$@"
if grep -n '://' requirements/*.txt; then echo "a requirements file names a host" >&2; exit 1; fi
