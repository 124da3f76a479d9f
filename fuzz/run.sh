#!/usr/bin/env bash
# Runs fuzz targets for a while each, all of them if none is named; the first finding ends it with an error.
#
#   fuzz/run.sh SECONDS [TARGET…]
set -euo pipefail
cd "$(dirname "$0")/.."
. plugin/lib.sh

seconds=${1:?usage: fuzz/run.sh SECONDS [TARGET…]}
targets=("${@:2}")
((${#targets[@]})) || targets=(frame ring options config pipeline answers http state)

need_rust
need c++ g++
cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz
# Without sanitizers, which only a nightly compiler has; the coverage it is guided by is an unstable flag too.
export RUSTC_BOOTSTRAP=1
unset CARGO_TARGET_DIR
for target in "${targets[@]}"; do
    # Inputs grow ten times as fast as they would by themselves: a minute is short. One that takes two minutes hangs.
    say "fuzzing $target for $seconds s"
    cargo fuzz run --sanitizer none "$target" -- -max_total_time="$seconds" -len_control=10 -timeout=120 -rss_limit_mb=2048 -print_final_stats=1
done
