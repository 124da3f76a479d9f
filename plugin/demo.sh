#!/usr/bin/env bash
# Shows the plugin at work, once: a container writes 1,000 lines, which are then counted in Loki and in `docker logs`.
#
#   plugin/demo.sh
#   LOKI_URL=http://… plugin/demo.sh      with a Loki of yours instead of the stand-in of the tests
#
# It uses the Docker Engine that runs here, under names of its own, or a private one if none does. What it made is gone
# afterwards, also when it fails. The last line has the three numbers; the exit status is not 0 unless they are equal.
set -euo pipefail
cd "$(dirname "$0")/.."
. plugin/lib.sh

readonly lines=1000
# Lines a second, so that there is something to watch.
readonly rate=500
readonly plugin=loki-rs-demo image=loki-rs-demo
# In a Loki that stays there may be the lines of other demos.
readonly container=loki-rs-demo-$(date +%s)
readonly started=$(date +%s)
# Seconds until all lines must be in Loki.
readonly patience=60

target_dir=${CARGO_TARGET_DIR:-target}
work=$(mktemp -d)
standin='' engine=''

main() {
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    need curl curl
    build
    choose_engine
    choose_loki
    install
    write_lines
    look_into_loki
    look_into_docker_logs
    verdict
}

build() {
    plugin/build.sh "$work/plugin"
    tests/chatter/build.sh "$work/chatter.tar"
    if [[ -z ${LOKI_URL:-} ]]; then
        say "building the stand-in for Loki"
        build_static --example loki-standin
    fi
}

choose_engine() {
    need docker docker.io
    if timeout 30 docker version >/dev/null 2>&1; then
        say "using the Docker Engine that runs here, $(docker version --format '{{.Server.Version}}')"
        # Of a demo that was killed.
        remove_all
        return
    fi
    need_engine
    say "no Docker Engine answers here: starting a private one"
    engine=$(mktemp -du /tmp/loki-rs.XXXXXX)
    # In a session of its own, so that Ctrl-C does not reach it: it ends when this script does.
    coproc ENGINE { exec setsid plugin/engine.sh "$engine"; }
    local answer
    read -r answer <&"${ENGINE[0]}" || die "a private Docker Engine does not start on this machine"
    unset DOCKER_CONTEXT
    export DOCKER_HOST=unix://$engine/docker.sock
}

choose_loki() {
    if [[ -n ${LOKI_URL:-} ]]; then
        loki=${LOKI_URL%/}
        loki=${loki%/loki/api/v1/push}
        say "using the Loki at $(masked "$loki")"
    else
        setpriv --pdeathsig KILL -- "$target_dir/$(static_target)/release/examples/loki-standin" --listen 127.0.0.1:0 \
            >"$work/standin.log" 2>&1 &
        standin=$!
        wait_until 10 grep -q '^listening on ' "$work/standin.log" ||
            die "the stand-in for Loki does not start: $(<"$work/standin.log")"
        loki=$(sed -n 's/^listening on //p' "$work/standin.log")
        say "using a stand-in for Loki at $loki"
    fi
    wait_until 30 ask /ready -o /dev/null || die "the Loki at $(masked "$loki") is not ready"
}

install() {
    say "installing the plugin as $plugin"
    docker plugin create "$plugin" "$work/plugin" >/dev/null
    docker plugin enable --timeout 0 "$plugin" >/dev/null
    docker import --change 'ENTRYPOINT ["/chatter"]' "$work/chatter.tar" "$image" >/dev/null
}

# What is written is counted where it comes out of the container, on a way that does not lead through the plugin.
write_lines() {
    say "docker run --log-driver=$plugin --log-opt loki-url=$(masked "$loki")/loki/api/v1/push …"
    docker run --name "$container" --network none --log-driver "$plugin" --log-opt "loki-url=$loki/loki/api/v1/push" \
        ${LOKI_TENANT_ID:+--log-opt "loki-tenant-id=$LOKI_TENANT_ID"} \
        "$image" "lines:$lines@$rate" |
        tee "$work/written" | awk "NR % 200 == 0 { print \"   written: \" NR; fflush() }"
    written=$(wc -l <"$work/written")
}

look_into_loki() {
    say "waiting for Loki to have them"
    local tenths=0
    in_loki=0
    until query && in_loki=$(wc -l <"$work/in_loki") && ((in_loki >= written)); do
        ((tenths % 10 != 0)) || echo "   in Loki: $in_loki"
        ((++tenths <= patience * 10)) || break
        sleep 0.1
    done
    echo "   in Loki: $in_loki, with these labels:"
    grep -oE '"stream":\{[^}]*\}' "$work/answer" | head -n 1 | grep -oE '"[^"]*":"[^"]*"' | sed 's/^/      /'
    echo "   the first and the last:"
    sed -n '1,2p; $p' "$work/in_loki" | sed 's/^/      /'
}

# Asks Loki for the container's lines; their times and texts go to in_loki. Quoted text in JSON has no bare quotation
# mark.
query() {
    ask /loki/api/v1/query_range --get --data-urlencode "query={container_name=\"$container\"}" \
        --data "limit=5000" --data "direction=forward" --data "start=${started}000000000" >"$work/answer" || return
    grep -oE '\["[0-9]{19}", ?"(\\.|[^"\\])*"' "$work/answer" | tr -d '["' | tr ',' ' ' >"$work/in_loki" || true
}

look_into_docker_logs() {
    say "docker logs $container"
    docker logs "$container" >"$work/docker_logs" 2>&1
    docker_logs=$(wc -l <"$work/docker_logs")
    sed -n '1,2p; $p' "$work/docker_logs" | sed 's/^/      /'
}

verdict() {
    say "cleaning up"
    clean_up
    echo "demo: written=$written loki=$in_loki docker_logs=$docker_logs"
    [[ $written == "$lines" && $in_loki == "$lines" && $docker_logs == "$lines" ]]
}

ask() {
    local path=$1
    shift
    curl --silent --show-error --fail --max-time 20 \
        ${LOKI_TENANT_ID:+--header "X-Scope-OrgID: $LOKI_TENANT_ID"} "$loki$path" "$@"
}

# wait_until SECONDS COMMAND...: until it succeeds, in silence.
wait_until() {
    local tenths=$(($1 * 10))
    shift
    until "$@" >/dev/null 2>&1; do
        ((tenths-- > 0)) || return 1
        sleep 0.1
    done
}

remove_all() {
    local left
    left=$(docker ps -aq --filter "name=^/loki-rs-demo-")
    [[ -z $left ]] || docker rm --force $left >/dev/null
    if docker plugin inspect "$plugin" >/dev/null 2>&1; then
        # Forced only if it has to be: a plugin that says it is in use, with no container left, has a mistake.
        docker plugin disable "$plugin" >/dev/null || docker plugin disable --force "$plugin" >/dev/null || true
        docker plugin rm "$plugin" >/dev/null
    fi
    left=$(docker images -q "$image")
    [[ -z $left ]] || docker rmi --force $left >/dev/null
}

clean_up() {
    local status=$?
    trap - EXIT
    if [[ $status != 0 && -e $engine/dockerd.log ]]; then
        say "the end of dockerd's log:"
        tail -n 20 "$engine/dockerd.log"
    fi
    if [[ -n $engine ]]; then
        if [[ -n ${ENGINE_PID:-} ]]; then
            exec {ENGINE[1]}>&-
            wait "$ENGINE_PID" || true
        fi
    elif [[ -n ${loki:-} ]]; then
        remove_all || true
    fi
    [[ -z $standin ]] || kill "$standin" 2>/dev/null || true
    rm -rf "$work"
}

main "$@"
