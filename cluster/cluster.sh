# Shared by up, status, kill, pause and down: where the local cluster is. Sourced, not run.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Everything the local cluster leaves on the disk; `down` removes it. What a failed `up` leaves to look at is beside it.
run=$root/realertime-cluster
failed=$run-failed

# Node 1 has the default ports, unless `up` was told others; the other nodes follow in steps of ten.
base=$(cat "$run/base" 2>/dev/null || echo 8080)
listen_port() { echo $((base - 10 + 10 * $1)); }
api_port() { echo $((base - 9 + 10 * $1)); }
link_port() { echo $((base - 8 + 10 * $1)); }
client_port() { echo $((base + 4100 + $1)); }
# Of an ensemble only: where its servers follow their leader, and where they elect it.
follow_port() { echo $((base + 4200 + $1)); }
election_port() { echo $((base + 4300 + $1)); }

# Prints the comment at a script's top when that is asked for.
help() {
    case ${1:-} in -h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;; esac
}

# The process a pid file names, if it is still the one that was started.
alive() {
    local pid
    pid=$(cat "$run/$1.pid" 2>/dev/null) || return 1
    [ -r "/proc/$pid/cmdline" ] && tr '\0' ' ' <"/proc/$pid/cmdline" | grep -qF "$run/$1"
}

names() { for file in "$run"/${1:-*}.pid; do [ -e "$file" ] && basename "$file" .pid; done; }

# Starts a command in the background, its output in NAME.log, its process id in NAME.pid. NAME's files are among its arguments, so that `alive` knows it.
start() {
    local name=$1 pid
    shift
    # How to start it again.
    printf '%q ' "$@" >"$run/$name.command"
    setsid "$@" >>"$run/$name.log" 2>&1 </dev/null &
    pid=$!
    echo "$pid" >"$run/$name.pid"
    # Until it has become that command, it would not be known as what was started.
    for _ in $(seq 100); do
        if alive "$name" || ! kill -0 "$pid" 2>/dev/null; then return; fi
        sleep 0.02
    done
}

# Ends processes gracefully, or at once when that has taken so many seconds.
end() {
    local name running
    for name in $1; do
        alive "$name" || continue
        # One that is paused could not obey.
        { kill -CONT "$(cat "$run/$name.pid")" && kill "$(cat "$run/$name.pid")"; } || true
    done
    for ((tenth = 0; tenth < ${2}0; tenth++)); do
        running=""
        for name in $1; do if alive "$name"; then running+=" $name"; fi; done
        [ -n "$running" ] || return 0
        sleep 0.1
    done
    for name in $running; do kill -9 "$(cat "$run/$name.pid")" || true; done
}

# Nodes first, while ZooKeeper can still be told that they leave.
end_all() {
    end "$(names 'n*')" 15
    end "$(names 'zookeeper*')" 5
}

# Who listens on a port of this machine's loopback, as far as one may know. Fails when nobody does.
holder() {
    local socket pid
    socket=$(awk -v port="$(printf '%04X' "$1")" '
        BEGIN { any = "00000000"; own["0100007F"]; own[any]; own[any any any any]; own[any any "FFFF0000" "0100007F"] }
        { split($2, address, ":") }
        $4 == "0A" && address[2] == port && address[1] in own { print $10; exit }' /proc/net/tcp /proc/net/tcp6 2>/dev/null)
    [ -n "$socket" ] || return 1
    pid=$(find /proc/[0-9]*/fd -lname "socket:\[$socket\]" 2>/dev/null | head -1 | cut -d/ -f3)
    if [ -n "$pid" ]; then
        echo "process $pid ($(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | cut -c1-100 | sed 's/ *$//'))"
    else
        echo "a process that you may not look at"
    fi
}

need_node() {
    [ -n "${1:-}" ] || fail "Which one? There are: $(names | xargs)"
    [ -e "$run/$1.pid" ] || fail "There is no $1. There are: $(names | xargs)"
}

start_node() {
    start "$1" "$binary" node --config "$run/$1.yaml"
}

restart() {
    eval "start $1 $(cat "$run/$1.command")"
}

# Fails when what was just started has ended.
stays() {
    sleep 1
    alive "$1" || { tail -3 "$run/$1.log" >&2; fail "$1 ended immediately; its log is $run/$1.log"; }
}
