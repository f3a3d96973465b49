# shellcheck shell=bash disable=SC2034
# What all scripts share: where things lie, and how to say something.

CACHE=$ROOT/.cache
TOOLS=$CACHE/tools
MODELS=$CACHE/models
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$ROOT/target}
export PATH=$TOOLS/bin:$ROOT/web/node_modules/.bin:$PATH
export PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 # Debian's Chromium is used
export CHROMIUM=${CHROMIUM:-/usr/bin/chromium}

if [ -t 1 ]; then BOLD=$'\e[1m' DIM=$'\e[2m' PLAIN=$'\e[0m'; else BOLD='' DIM='' PLAIN=''; fi
say() { printf '%s==> %s%s\n' "$BOLD" "$*" "$PLAIN"; }
note() { printf '%s    %s%s\n' "$DIM" "$*" "$PLAIN"; }
die() { printf '\n%sbuild.sh: %s%s\n' "$BOLD" "$*" "$PLAIN" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

sha256() { echo "$2  $1" | sha256sum --check --quiet - 2>/dev/null >&2; }
