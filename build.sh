#!/usr/bin/env bash
# build.sh: builds, tests and serves ternlight. This file only dispatches; the work is done by the scripts in build/,
# one per concern. Every step may be repeated: what is done is skipped.
#
#   ./build.sh help
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
ROOT=$PWD # for the scripts

for script in common setup wasm web model native package test bench fuzz; do
    # shellcheck source=/dev/null
    source "build/$script.sh"
done

cmd_help() {
    cat <<'HELP'
ternlight: ternary language models in a browser tab and natively.

  ./build.sh demo [PORT]      build everything, fetch a model, serve the chat page
  ./build.sh test [STAGE...]  run all tests, or: lint rust count wasm arm web www firefox

  ./build.sh setup            install what is missing for all of this
  ./build.sh native           the command line program, target/release/ternlight
  ./build.sh wasm [FLAVOUR..] crates/wasm -> web/generated/  (simd128 relaxed threads)
  ./build.sh web              the npm package, web/dist
  ./build.sh www              the page, www/dist
  ./build.sh model [NAME]     fetch a model into .cache/models: smollm2 (the demo's) or gemma3 (for tests)
  ./build.sh package          the crates, as they would be published
  ./build.sh bench            speed, natively, in Chromium and of the peer wllama (makes 2.4 GB of models)
  ./build.sh fuzz [SECONDS] [TARGET...]
HELP
}

command=${1:-help}
[ $# -gt 0 ] && shift
case $command in
help | -h | --help) cmd_help ;;
setup | demo | test | wasm | web | www | native | model | package | bench | fuzz) "cmd_$command" "$@" ;;
*)
    cmd_help
    die "no such command: $command"
    ;;
esac
