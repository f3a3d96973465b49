# shellcheck shell=bash disable=SC2034
# Speed.

# bench [OPTION...]: of web/bench/run.ts. Models: the demo's, and random weights of the shape of
# BitNet b1.58 2B4T in two encodings, the official one for us and the one that the peer can read.
cmd_bench() {
    local format ternlight=$CARGO_TARGET_DIR/release/ternlight shape=$MODELS/bitnet-2b4t
    cmd_native
    cmd_model
    for format in i2_s tq2_0; do
        [ -f "$shape.$format.gguf" ] || "$ternlight" synth --shape bitnet-2b4t --format "$format" --seed 1 --out "$shape.$format.gguf"
    done
    cmd_wasm
    cmd_web
    setup_test
    say "kernels, one thread, in cache"
    "$ternlight" bench --kernels
    say "models: natively, in Chromium, and the peer"
    (cd web && npm run --silent bench -- --native "$ternlight" --case "$MODELS/$MODEL" \
        --case "$shape.i2_s.gguf:$shape.tq2_0.gguf" --out "$CACHE/bench" "$@")
    note ".cache/bench.md, .cache/bench.json"
}
