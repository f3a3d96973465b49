# shellcheck shell=bash disable=SC2034
# Installs what a bare Debian machine with rustup, Node.js >= 20 and Python 3 lacks.

# Tools are pinned here, in Cargo.lock and in the package-lock.json of each npm folder, nowhere else.
CARGO_FUZZ=0.13.2

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
        cargo install --quiet --locked --root "$TOOLS" "$@" "$crate@$version"
}

# npm_folder FOLDER: its dependencies, exactly as locked.
npm_folder() {
    local folder=$1
    if [ "$folder/package-lock.json" -nt "$folder/node_modules/.package-lock.json" ]; then
        say "npm packages of $folder/"
        (cd "$folder" && npm ci --no-audit --no-fund --loglevel=error)
        touch "$folder/node_modules/.package-lock.json"
    fi
}

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
    npm_folder web # wasm-opt is one of its tools
}

# What `test` needs on top: a browser, a second processor.
setup_test() {
    rustup component list --installed 2>/dev/null | grep -q clippy || ! have rustup || rustup --quiet component add clippy rustfmt
    rust_target wasm32-wasip1 aarch64-unknown-linux-gnu
    debian chromium fonts-dejavu-core fonts-liberation fonts-noto-core fonts-noto-color-emoji \
        qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross
}

can_build_std() { [ -f "$(rustc --print sysroot)/lib/rustlib/src/rust/library/Cargo.lock" ]; }

cmd_setup() {
    setup_build
    setup_test
    note "everything is there"
}
