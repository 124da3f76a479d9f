# What the scripts of this folder share. Sourced, with `set -euo pipefail`, by scripts that start in the project's
# folder.

# dockerd is not on everybody's path.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

# Says what happens now.
say() {
    printf '%s\n' "== $*"
}

# Says why it does not go on.
die() {
    printf '%s\n' "$*" >&2
    exit 1
}

# need COMMAND PACKAGE: there is such a command, from Debian's package if it has to be.
need() {
    command -v "$1" >/dev/null || install_package "$2"
    command -v "$1" >/dev/null || die "the package $2 was installed and brought no command $1: install that by hand"
}

install_package() {
    [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null ||
        die "this needs the Debian package $1, or its like on this system, and only root with apt-get installs it here"
    say "installing $1, which is missing"
    export DEBIAN_FRONTEND=noninteractive
    if [[ -z ${package_lists_are_new:-} ]]; then
        apt-get -qq update </dev/null || die "apt-get update failed, and $1 has to be installed"
        # For the scripts that this one calls, too.
        export package_lists_are_new=yes
    fi
    apt-get -qq install --yes --no-install-recommends "$1" </dev/null >/dev/null ||
        die "apt-get could not install $1; install it by hand"
}

# What it takes to build a static program.
need_rust() {
    command -v cargo >/dev/null || PATH=$PATH:$HOME/.cargo/bin
    command -v cargo >/dev/null || die "this needs Rust, in the version that Cargo.toml says: see https://rustup.rs"
    need cc gcc
    [[ $(cc -print-file-name=libc.a) == /* ]] || install_package libc6-dev
}

# What checks dependencies. Unoptimised it is built in a minute, and checks in two seconds.
need_cargo_deny() {
    cargo deny --version >/dev/null 2>&1 || CARGO_PROFILE_RELEASE_OPT_LEVEL=0 cargo install --locked cargo-deny
}

# What it takes to run an engine of one's own.
need_engine() {
    need dockerd docker.io
    need docker docker-cli
    # For the compose files. A plugin of the docker command does as well.
    docker compose version >/dev/null 2>&1 || need docker-compose docker-compose
    # For a disk that fails.
    need mkfs.ext4 e2fsprogs
}

# What it takes to judge metrics, alerts and dashboards: promtool, and a Prometheus to scrape with. Debian's package has a
# service besides, which nobody asked for here: it is not started, neither now nor at the next boot.
need_prometheus() {
    if ! command -v promtool >/dev/null || ! command -v prometheus >/dev/null; then
        without_services install_package prometheus
        update-rc.d prometheus disable >/dev/null 2>&1 || say "prometheus may start at the next boot"
    fi
    need promtool prometheus
    need prometheus prometheus
}

# without_services COMMAND…: packages that it installs start nothing. They ask policy-rc.d; one that is there stays.
without_services() (
    policy=/usr/sbin/policy-rc.d
    if [[ ! -e $policy && -w ${policy%/*} ]]; then
        trap 'rm -f "$policy"' EXIT
        install -m 755 /dev/stdin "$policy" <<<$'#!/bin/sh\nexit 101'
    fi
    "$@"
)

# What looks at the status page.
need_browser() {
    need chromium chromium
    need chromedriver chromium-driver
    # Without any font there is no text, and the browser gives up.
    [[ -n $(find /usr/share/fonts -name '*.ttf' -print -quit 2>/dev/null) ]] || install_package fonts-dejavu-core
}

# The target that is built for, given by name so that flags for a static program do not reach build scripts and macros,
# which cannot be static.
static_target() {
    local host
    host=$(rustc -vV | sed -n 's/^host: //p')
    [[ $host == *-linux-gnu ]] || die "the plugin is built with a *-linux-gnu toolchain, and this one is for $host"
    echo "$host"
}

# cargo build, for programs that need nothing at run time: no libc, no loader. glibc resolves names without them from
# 2.34 on.
build_static() {
    RUSTFLAGS=$(static_flags) cargo build --locked --release --target "$(static_target)" "$@"
}

# What rustc needs for that, and to make it small: relocations are packed, which glibc reads from 2.36 on, and of
# functions that are the same one is kept, which only the linker does that rustc brings along for x86-64.
static_flags() {
    local flags="-C target-feature=+crt-static" glibc
    glibc=$(getconf GNU_LIBC_VERSION | sed 's/^glibc //')
    if [[ $(printf '%s\n' 2.36 "$glibc" | sort --version-sort | head -n 1) == 2.36 ]]; then
        flags+=" -C link-arg=-Wl,-z,pack-relative-relocs"
    fi
    if [[ $(static_target) == x86_64-* ]]; then
        flags+=" -C link-arg=-Wl,--icf=all"
    fi
    echo "$flags"
}

# masked URL: as it may be shown.
masked() {
    sed -E 's#//[^/@]*@#//***@#' <<<"$1"
}
