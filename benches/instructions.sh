#!/usr/bin/env bash
# Counts the instructions of the hot parts, and holds them against benches/instructions.txt.
#
#   benches/instructions.sh            fails when a part takes more than 5 % more than is written there
#   benches/instructions.sh --write    writes them there
#
# Instructions, unlike times, are the same on a busy machine. They are not the same from another compiler: where that is
# another one than those of the file are from, they are shown and not judged.
set -euo pipefail
cd "$(dirname "$0")/.."
. plugin/lib.sh

readonly file=benches/instructions.txt
readonly allowed=5

main() {
    need_rust
    need valgrind valgrind
    say "building the parts"
    CARGO_PROFILE_RELEASE_STRIP=none cargo build --quiet --locked --release --example parts
    readonly parts=${CARGO_TARGET_DIR:-target}/release/examples/parts
    local compiler counts
    compiler=$(rustc --version)
    say "counting"
    counts=$(count)
    if [[ ${1:-} == --write ]]; then
        printf '# Instructions for 8,000 lines of 100 bytes, by %s\n%s\n' "$compiler" "$counts" >"$file"
        cat "$file"
        return
    fi
    if ! head -n 1 "$file" | grep -qF "$compiler"; then
        printf '%s\n' "$counts"
        say "not judged: $file is from another compiler than $compiler"
        return
    fi
    judge <<<"$counts"
}

# A line for each part: instructions, name.
count() {
    local number=0 name
    while read -r name; do
        valgrind --tool=callgrind --callgrind-out-file=/dev/null --collect-atstart=no --toggle-collect=counted \
            "$parts" "$number" 2>&1 | awk -v name="$name" '/Collected/ { printf "%12d  %s\n", $NF, name }'
        ((++number))
    done < <("$parts")
}

judge() {
    local now name before worse=0
    while read -r now name; do
        before=$(awk -v name="$name" '{ count = $1; $1 = ""; if (substr($0, 2) == name) print count }' "$file")
        [[ $before ]] || die "$name is not in $file: benches/instructions.sh --write puts it there"
        printf '%12d  %+6.1f %%  %s\n' "$now" "$(awk "BEGIN { print 100 * ($now / $before - 1) }")" "$name"
        ((now * 100 <= before * (100 + allowed))) || worse=1
    done
    ((!worse)) || die "a part takes more than $allowed % more instructions than $file says (--write, if that is meant)"
}

main "$@"
