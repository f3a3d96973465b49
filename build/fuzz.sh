# shellcheck shell=bash disable=SC2034
# Fuzzing of the parsers.

# fuzz [SECONDS] [TARGET...]: cargo-fuzz wants -Z flags, which stable allows when told so.
cmd_fuzz() {
    local seconds=${1:-60} target
    [ $# -gt 0 ] && shift
    debian g++
    cargo_tool cargo-fuzz "$CARGO_FUZZ" cargo-fuzz
    cd crates/core || exit
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
