#!/usr/bin/env bash
# Installs Debian packages; becomes root by sudo where it is not. Talks on stderr only.
set -euo pipefail
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
command -v apt-get >/dev/null || { echo "please install: $*" >&2; exit 1; }
echo "installing $*" >&2
as_root apt-get update -qq >&2
as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
