#!/usr/bin/env bash
# Builds chatter, and an image of it alone as `docker import` reads it. There is no registry to get one from.
#
#   tests/chatter/build.sh FILE.tar
#
# Its entry point has to be given: docker import --change 'ENTRYPOINT ["/chatter"]' FILE.tar NAME
set -euo pipefail
cd "$(dirname "$0")/../.."
. plugin/lib.sh

tar=${1:?usage: build.sh FILE.tar}

need_rust
say "building the image of the test containers"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
# It needs nothing but std, so cargo, which would build all dependencies of the tests for it, is not asked.
rustc --edition 2024 --target "$(static_target)" -C target-feature=+crt-static -C opt-level=2 -C strip=symbols \
    -o "$dir/chatter" tests/chatter/main.rs
mkdir -p "$(dirname "$tar")"
tar --create --file "$tar" --directory "$dir" --owner 0 --group 0 chatter
