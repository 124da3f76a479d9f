#!/usr/bin/env bash
# Builds the plugin and lays it out as `docker plugin create` wants it: config.json, and rootfs/ with the binary and
# nothing else.
#
#   plugin/build.sh [DIR]      DIR: plugin/ in cargo's target folder, unless given
set -euo pipefail
cd "$(dirname "$0")/.."
. plugin/lib.sh

target_dir=${CARGO_TARGET_DIR:-target}
dir=${1:-$target_dir/plugin}

need_rust
target=$(static_target)
say "building the plugin for $target"
build_static --bin loki-rs

# A new folder each time, so that nothing of an older layout stays.
rm -rf "$dir"
# dockerd makes every other folder that a plugin has to have.
mkdir -p "$dir/rootfs"
cp "$target_dir/$target/release/loki-rs" "$dir/rootfs/"
cp config.json "$dir/"
"$dir/rootfs/loki-rs" --version >/dev/null || die "the plugin was built and does not start"

bytes=$(stat -c %s "$dir/rootfs/loki-rs")
files=$(find "$dir/rootfs" -type f | wc -l)
say "$dir: rootfs of $files file, $bytes bytes ($((bytes / 1024)) KiB)"
