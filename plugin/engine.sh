#!/usr/bin/env bash
# A Docker Engine of its own, for as long as somebody holds on to it.
#
#   plugin/engine.sh DIR      DIR: to be made, and short, because unix sockets are in it
#
# Everything is below DIR: docker.sock, daemon.json, dockerd.log, data. The engine says "ready" on stdout and then obeys
# its stdin, an order a line, each answered by "ready" again:
#
#   restart    stop dockerd as an init system does, and start it again with what daemon.json says now
#   kill       the same with SIGKILL
#   mount ARGUMENTS...
#              mount(8) as the engine sees the machine: what is mounted below the propagated mount of a plugin, it sees.
#              Answered by "refused" when it was
#
# At the end of stdin it stops and removes DIR. That end comes when whoever started it dies, however that happens, so an
# engine never stays behind. Start it in a process group of its own: what is sent to yours, Ctrl-C for one, must not
# reach it.
#
# It has a PID and a mount namespace to itself: the kernel ends every shim and container with it, and a
# dockerd or containerd of the machine is neither seen nor touched. The network is the machine's, and unused: containers
# need --network none.
set -euo pipefail

readonly usage="usage: engine.sh DIR"
readonly dir=${1:?$usage}

# Seconds until dockerd must have come, and gone.
readonly patience=30

main() {
    if [[ ${2:-} == --inside ]]; then
        inside
        return
    fi
    mkdir -p "$dir"
    trap 'rm -rf "$dir"' EXIT
    unshare --mount --pid --fork --kill-child --mount-proc -- "$BASH" "$0" "$dir" --inside
}

# PID 1 of the engine.
inside() {
    mount_own
    start
    local order arguments
    while read -r order arguments; do
        case $order in
            restart)
                stop TERM
                start
                ;;
            kill)
                stop KILL
                start
                ;;
            mount) mount $arguments && echo ready || echo refused ;;
            *) fail "engine.sh: \"$order\" is not an order (try restart, kill or mount)" ;;
        esac
    done
    end
}

# Places that no option of dockerd moves: the sockets of plugins, and the machine's containerd, which dockerd uses if it
# sees it.
mount_own() {
    mkdir -p /run/docker /run/containerd
    mount -t tmpfs tmpfs /run/docker
    mount -t tmpfs tmpfs /run/containerd
    if ! grep -q ' /sys/fs/cgroup' /proc/mounts; then
        mount_cgroups
    fi
}

# For a machine whose init system does not: what Debian's cgroupfs-mount does, and the second version where the first is
# not to be had.
mount_cgroups() {
    mount -t tmpfs tmpfs /sys/fs/cgroup
    local controller
    for controller in $(awk '!/^#/ && $4 == 1 { print $1 }' /proc/cgroups); do
        mkdir "/sys/fs/cgroup/$controller"
        mount -t cgroup -o "$controller" "$controller" "/sys/fs/cgroup/$controller" 2>/dev/null ||
            rmdir "/sys/fs/cgroup/$controller"
    done
    if ! grep -q ' /sys/fs/cgroup/memory' /proc/mounts; then
        umount --recursive /sys/fs/cgroup
        mount -t cgroup2 cgroup2 /sys/fs/cgroup
    fi
}

start() {
    [[ -e $dir/daemon.json ]] || echo '{}' >"$dir/daemon.json"
    # vfs works on every file system. Without systemd's help for cgroups, because it does not know the process ids of
    # this namespace.
    dockerd --config-file "$dir/daemon.json" --host "unix://$dir/docker.sock" \
        --data-root "$dir/data" --exec-root "$dir/exec" --pidfile "$dir/docker.pid" \
        --storage-driver vfs --exec-opt native.cgroupdriver=cgroupfs \
        --bridge=none --iptables=false --ip-forward=false --ip-masq=false \
        </dev/null >>"$dir/dockerd.log" 2>&1 &
    dockerd=$!
    local tenths=0
    until on_engine version >/dev/null 2>&1; do
        kill -0 "$dockerd" 2>/dev/null || fail "dockerd ended"
        ((++tenths < patience * 10)) || fail "dockerd does not answer after $patience s"
        sleep 0.1
    done
    echo ready
}

# stop SIGNAL. One that hangs, over a container that cannot be ended for example, is killed.
stop() {
    kill -s "$1" "$dockerd"
    local tenths=0
    while kill -0 "$dockerd" 2>/dev/null; do
        ((++tenths < patience * 10)) || kill -KILL "$dockerd"
        sleep 0.1
    done
    wait "$dockerd" || true
    # After SIGKILL it names a process that may be anybody's by now.
    rm -f "$dir/docker.pid"
}

# In order, so that runc takes the control groups away; then the namespace ends, and with it whatever is left.
end() {
    local all
    all=$(on_engine ps -q) && [[ -z $all ]] || on_engine kill $all >/dev/null 2>&1 || true
    all=$(on_engine plugin ls -q) && [[ -z $all ]] || on_engine plugin disable --force $all >/dev/null 2>&1 || true
    stop TERM
}

on_engine() {
    DOCKER_CONFIG=$dir DOCKER_CONTEXT='' timeout 10 docker -H "unix://$dir/docker.sock" "$@"
}

fail() {
    {
        echo "$1; the end of its log:"
        tail -n 20 "$dir/dockerd.log"
    } >&2
    exit 1
}

main "$@"
