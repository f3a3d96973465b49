# shellcheck shell=bash disable=SC2034
# The crates as they would be published, and proof that each is complete.

# Packs all crates, unpacks them side by side and checks them with their tests: a file that a crate includes from
# outside its folder is missing there. (`cargo package` would verify too, but by building all dependencies anew.)
cmd_package() {
    local unpacked=$CARGO_TARGET_DIR/unpacked archive crate
    say "crates, as they would be published"
    rm -rf "$CARGO_TARGET_DIR/package"
    cargo package --quiet --locked --workspace --exclude ternlight-tests --exclude ternlight-examples --exclude ternlight-bindgen --no-verify --allow-dirty
    rm -rf "$unpacked"
    mkdir -p "$unpacked"
    {
        sed -n '/^\[profile\.dev\]/,$p' Cargo.toml # the same profile, so that dependencies are not built again
        echo '[workspace]'
        echo 'resolver = "3"'
        echo 'members = ["ternlight-*"]'
        echo '[patch.crates-io]'
    } >"$unpacked/Cargo.toml"
    for archive in "$CARGO_TARGET_DIR"/package/ternlight-*.crate; do
        crate=$(basename "$archive" .crate)
        tar -xmzf "$archive" -C "$unpacked" # with the time of now: archives all have the same, and cargo goes by it
        rm "$unpacked/$crate/Cargo.lock"
        echo "${crate%-[0-9]*} = { path = \"$crate\" }" >>"$unpacked/Cargo.toml"
        [ -f "$unpacked/$crate/README.md" ] || die "$crate has no README.md"
        note "$crate: $(du -k "$archive" | cut -f1) KB, $(tar -tzf "$archive" | wc -l) files"
    done
    cp Cargo.lock "$unpacked/"
    (cd "$unpacked" && cargo check --quiet --all-targets --workspace)
}
