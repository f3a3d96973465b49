# shellcheck shell=bash disable=SC2034
# The stages of the tests.

STAGES=(lint rust count wasm arm web www)

test_lint() {
    cargo fmt --all --check
    cargo clippy --quiet --locked --workspace --all-targets -- -D warnings
    cargo clippy --quiet --locked -p ternlight-core --no-default-features -- -D warnings
    # What is compiled for other machines only.
    cargo clippy --quiet --locked -p ternlight-core --target aarch64-unknown-linux-gnu -- -D warnings
    (
        rust_flags relaxed
        cargo clippy --quiet --locked -p ternlight-wasm --target wasm32-unknown-unknown --target-dir "$CARGO_TARGET_DIR/lint-relaxed" -- -D warnings
    )
    # Documentation: links resolve, warnings are errors. Its examples are compiled and run by `cargo test`.
    RUSTDOCFLAGS="-D warnings" cargo doc --quiet --locked --workspace --no-deps
    cmd_package
}

# The dev profile is optimised; overflow checks and debug assertions stay on.
test_rust() {
    cargo test --quiet --locked --workspace
    cargo test --quiet --locked -p ternlight-core --no-default-features
}

# Instructions of the kernels' loops, against those known.
test_count() {
    debian valgrind
    cargo build --quiet --release --locked -p ternlight-core --example product
    node tests/instructions.mjs "$CARGO_TARGET_DIR/release/examples/product"
}

# The core's own tests as wasm: the simd128 kernels under Node.js, the relaxed ones in
# Chromium (Node 20's relaxed instructions are not exact).
test_wasm() {
    local flavour
    npm_folder tests/wasm
    for flavour in simd128 relaxed; do
        note "core tests, wasm $flavour"
        (
            rust_flags "$flavour"
            export CARGO_TARGET_WASM32_WASIP1_RUNNER="node --no-warnings $ROOT/tests/wasm/run.mjs $flavour"
            # A panic ends the program there, so names and messages are printed as they come.
            cargo test --quiet --locked -p ternlight-core --lib --target wasm32-wasip1 \
                --target-dir "$CARGO_TARGET_DIR/wasi-$flavour" -- --nocapture --format=pretty
        )
    done
}

# The core's own tests on aarch64 (NEON), emulated.
test_arm() {
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -L /usr/aarch64-linux-gnu"
    cargo test --quiet --locked -p ternlight-core --lib --target aarch64-unknown-linux-gnu
}

test_web() {
    cmd_wasm
    cmd_web
    npm_folder examples/web/vite
    # Snippets of the documentation and examples: makes their model, serves them.
    cargo build --quiet --locked -p ternlight-cli
    export TERNLIGHT=$CARGO_TARGET_DIR/debug/ternlight
    (cd web && npm run --silent check && npm run --silent check:package && npm test && npm run --silent packaging)
}

test_www() {
    cmd_www
    (cd www && npm run --silent check && npm test)
}

# The page in real Firefox, over WebDriver BiDi: asked for by name, as it installs a second browser.
test_firefox() {
    debian firefox-esr
    cmd_www
    (cd www && npm run --silent test:firefox)
}

# A stage ends at its first failing command. (No `stage || …`: that would switch errexit
# off inside it, so the trap below names the stage instead.)
cmd_test() {
    local start stages=("$@") times=()
    [ ${#stages[@]} -gt 0 ] || stages=("${STAGES[@]}")
    for stage in "${stages[@]}"; do
        declare -F "test_$stage" >/dev/null || die "no such test stage: $stage (there are: ${STAGES[*]})"
    done
    stage=setup
    trap '[ $? = 0 ] || printf "\n%sbuild.sh: failed in: %s%s\n" "$BOLD" "$stage" "$PLAIN" >&2' EXIT
    start=$SECONDS
    setup_build
    setup_test
    model_if_possible
    try_model gemma3 TERNLIGHT_WITHOUT_GEMMA3
    times+=("setup $((SECONDS - start)) s")
    for stage in "${stages[@]}"; do
        start=$SECONDS
        say "test: $stage"
        "test_$stage"
        times+=("$stage $((SECONDS - start)) s")
    done
    say "all tests passed"
    printf '    %s\n' "${times[@]}"
}
