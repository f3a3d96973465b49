# shellcheck shell=bash disable=SC2034
# The command line program, and the demo that it serves.

cmd_native() {
    say "command line: ternlight"
    cargo build --quiet --release --locked -p ternlight-cli
    note "$CARGO_TARGET_DIR/release/ternlight"
}

cmd_demo() {
    local port=${1:-8080}
    cmd_wasm
    cmd_web
    cmd_www
    cmd_native
    model_if_possible
    local models=()
    [ ! -f "$MODELS/$MODEL" ] || models=(--model "$MODELS/$MODEL")
    say "ready: http://localhost:$port/  (Ctrl-C ends it)"
    exec "$CARGO_TARGET_DIR/release/ternlight" serve-demo --dir www/dist "${models[@]}" --port "$port"
}
