#!/usr/bin/env bash
# Installs what plugin/build.sh laid out on the running engine, in place of an older plugin of that name, or removes it.
#
#   plugin/install.sh NAME DIR
#   plugin/install.sh --remove NAME
#
# An older one hands over what was set for it with `docker plugin set`, and its state: the logs of containers that have
# stopped, and lines that Loki does not have yet. `docker plugin upgrade` would do that too, but only with a registry.
set -euo pipefail
cd "$(dirname "$0")/.."
. plugin/lib.sh

readonly usage="usage: install.sh NAME DIR | install.sh --remove NAME"

main() {
    need docker docker.io
    running_engine
    if [[ ${1:-} == --remove ]]; then
        remove "${2:?$usage}"
    else
        install "${1:?$usage}" "${2:?$usage}"
    fi
}

running_engine() {
    docker version >/dev/null || die "no Docker Engine answers here; start one and try again"
}

install() {
    local name=$1 dir=$2 old='' settings=() state=''
    if old=$(id_of "$name"); then
        say "replacing $name"
        disable "$name"
        mapfile -t settings < <(changed_settings "$name")
        state=$(save_state "$old")
        docker plugin rm "$name" >/dev/null
    fi
    docker plugin create "$name" "$dir" >/dev/null
    local setting
    for setting in "${settings[@]}"; do
        docker plugin set "$name" "$setting" || say "${setting%%=*} is no setting of this version and is left out"
    done
    [[ -z $state ]] || give_back_state "$state" "$(id_of "$name")"
    # Not the default of 30 seconds: dockerd would end every `docker logs -f` after them.
    docker plugin enable --timeout 0 "$name" >/dev/null ||
        die "$name is installed and does not start; dockerd's log has its reason"
    say "$name is installed and enabled; use it with: docker run --log-driver=$name --log-opt loki-url=http://…"
}

remove() {
    local name=$1
    id_of "$name" >/dev/null || die "there is no plugin $name here"
    disable "$name"
    docker plugin rm "$name" >/dev/null
    say "$name is removed, with the logs it held"
}

id_of() {
    docker plugin inspect --format '{{.ID}}' "$1" 2>/dev/null
}

disable() {
    [[ $(docker plugin inspect --format '{{.Enabled}}' "$1") == true ]] || return 0
    docker plugin disable "$1" >/dev/null ||
        die "$1 stays as it is: stop the containers that log through it first:" $(users_of "$1")
}

# Names of running containers that log through a plugin.
users_of() {
    local running
    running=$(docker ps -q)
    [[ -z $running ]] ||
        docker inspect --format '{{.HostConfig.LogConfig.Type}} {{.Name}}' $running |
        sed -nE "s#^$1(:latest)? /##p"
}

# NAME=value of what differs from the defaults that the plugin brought, and NAME.source=directory of its mounts: what those
# were by default Docker does not keep.
changed_settings() {
    docker plugin inspect --format '{{range .Settings.Mounts}}{{.Name}}.source={{with .Source}}{{.}}{{end}}{{println}}{{end}}' "$1" |
        sed '/^$/d'
    local set='{{range .Settings.Env}}{{println .}}{{end}}'
    local brought='{{range .Config.Env}}{{.Name}}={{with .Value}}{{.}}{{end}}{{println}}{{end}}'
    comm -23 \
        <(docker plugin inspect --format "$set" "$1" | sort) \
        <(docker plugin inspect --format "$brought" "$1" | sort)
}

# Where a plugin's propagatedMount is on the host.
mount_of() {
    echo "$(docker info --format '{{.DockerRootDir}}')/plugins/$1/propagated-mount"
}

# Moves the state to a place that `docker plugin rm` leaves alone, and names it.
save_state() {
    local mount safe
    mount=$(mount_of "$1")
    if [[ ! -d $mount/loki-rs ]]; then
        [[ -r $mount ]] || say "the logs that it holds go with it: they are not to be reached from here" >&2
        return 0
    fi
    safe=$(mktemp -d "$mount/../../loki-rs-state.XXXXXX")
    mv "$mount/loki-rs" "$safe/"
    realpath "$safe"
}

give_back_state() {
    local mount
    mount=$(mount_of "$2")
    mkdir -p "$mount"
    mv "$1/loki-rs" "$mount/"
    rmdir "$1"
}

main "$@"
