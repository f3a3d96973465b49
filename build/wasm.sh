# shellcheck shell=bash disable=SC2034
# The flavours of the engine as WebAssembly: crates/wasm -> web/generated/. The only place with wasm flags.

# Engines refuse a module with one unknown instruction, so each level is a module of
# its own; web/ picks one at run time. Anything added here must be probed there.
FLAVOURS=(simd128 relaxed threads)

# std is rebuilt where its sources are to be had: the shipped one has no atomics, and its sorts and number
# formatting are made for speed (a twentieth of the download, called a few times a token at most).
BUILD_STD=(-Zbuild-std=std,panic_abort -Zbuild-std-features=optimize_for_size)
# A third of the default: what must be inlined in kernels says so itself (a fortieth of the download).
SMALL=(-Cllvm-args=-inline-threshold=75)

# rust_flags FLAVOUR: sets CARGO_ENCODED_RUSTFLAGS.
rust_flags() {
    local features=+simd128 flags=() flag
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
        ;;
    *) die "no such flavour: $1" ;;
    esac
    # Panic messages name files: keep the builder's folders out of them.
    flags+=("-Ctarget-feature=$features" "--remap-path-prefix=$ROOT=." "--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}/registry/src=registry")
    flags+=("--remap-path-prefix=$(rustc --print sysroot)/lib/rustlib/src/rust=rust" "${SMALL[@]}")
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
        local build_std=()
        if can_build_std; then
            build_std=("${BUILD_STD[@]}")
            export RUSTC_BOOTSTRAP=1 # for -Z and the atomics feature
        fi
        cargo build --quiet --profile wasm --locked -p ternlight-wasm --target wasm32-unknown-unknown \
            --target-dir "$target" "${build_std[@]}"
    )
}

# From the compiler's module to web/generated.
wasm_finish() {
    local flavour=$1 out=web/generated/$1
    local module=$CARGO_TARGET_DIR/wasm-$1/wasm32-unknown-unknown/wasm/ternlight_wasm.wasm
    [[ "$out/ternlight_bg.wasm" -nt "$module" && "$out/ternlight_bg.wasm" -nt build/wasm.sh ]] && return
    rm -rf "$out.new"
    "$CARGO_TARGET_DIR/tool/ternlight-bindgen" "$module" "$out.new"
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
    say "wasm: bindgen"
    cargo build --quiet --profile tool --locked -p ternlight-bindgen
    mkdir -p web/generated
    for flavour in "${flavours[@]}"; do
        if [ "$flavour" = threads ] && ! can_build_std; then
            say "wasm: threads"
            note "skipped: it rebuilds Rust's std, whose sources are missing (rustup component add rust-src)"
            rm -rf web/generated/threads
            continue
        fi
        # The linker's and wasm-opt's work on a flavour is a single thread: two flavours at a time.
        [ ${#jobs[@]} -lt 2 ] || wait "${jobs[-2]}"
        { wasm_compile "$flavour"; wasm_finish "$flavour"; } & # ends at the first failure: no &&, see cmd_test
        jobs+=($!)
    done
    for job in "${jobs[@]}"; do wait "$job"; done
}
