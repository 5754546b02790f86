# Functions that up, status, kill, pause and down share. The scripts source this file.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# All files of the local cluster; `down` removes them. A failed `up` keeps its logs in the second folder.
run=$root/realertime-cluster
failed=$run-failed

# Node 1 has the default ports, unless `up` got --port. Each further node's ports are 10 higher.
base=$(cat "$run/base" 2>/dev/null || echo 8080)
listen_port() { echo $((base - 10 + 10 * $1)); }
api_port() { echo $((base - 9 + 10 * $1)); }
link_port() { echo $((base - 8 + 10 * $1)); }
client_port() { echo $((base + 4100 + $1)); }
# Only an ensemble uses these ports: one to follow the ZooKeeper leader, one to elect it.
follow_port() { echo $((base + 4200 + $1)); }
election_port() { echo $((base + 4300 + $1)); }

# Prints the comment at the top of a script for -h and --help.
help() {
    case ${1:-} in -h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;; esac
}

# Succeeds if the process in a pid file is still the process that was started.
alive() {
    local pid
    pid=$(cat "$run/$1.pid" 2>/dev/null) || return 1
    [ -r "/proc/$pid/cmdline" ] && tr '\0' ' ' <"/proc/$pid/cmdline" | grep -qF "$run/$1"
}

names() { for file in "$run"/${1:-*}.pid; do [ -e "$file" ] && basename "$file" .pid; done; }

# Starts a command in the background. NAME.log gets its output, NAME.pid its process id. One of its arguments must contain the path of NAME's files: `alive` searches it.
start() {
    local name=$1 pid
    shift
    # `restart` runs this command again.
    printf '%q ' "$@" >"$run/$name.command"
    setsid "$@" >>"$run/$name.log" 2>&1 </dev/null &
    pid=$!
    echo "$pid" >"$run/$name.pid"
    # Wait until setsid has executed the command: before that, `alive` does not recognise the process.
    for _ in $(seq 100); do
        if alive "$name" || ! kill -0 "$pid" 2>/dev/null; then return; fi
        sleep 0.02
    done
}

# Ends the processes with the names in $1 gracefully, and with SIGKILL after $2 seconds.
end() {
    local name running
    for name in $1; do
        alive "$name" || continue
        # A paused process cannot handle a signal.
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

# Ends the nodes before ZooKeeper and Redis, so that they can leave the cluster.
end_all() {
    end "$(names 'n*')" 15
    end "$(names 'zookeeper*') $(names redis)" 5
}

# Prints the process that listens on a loopback port. Fails if the port is free.
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
        echo "a process of another user"
    fi
}

need_node() {
    [ -n "${1:-}" ] || fail "Pass one of these names: $(names | xargs)"
    [ -e "$run/$1.pid" ] || fail "$1 does not exist. Pass one of these names: $(names | xargs)"
}

start_node() {
    start "$1" "$binary" node --config "$run/$1.yaml"
}

restart() {
    eval "start $1 $(cat "$run/$1.command")"
}

# Fails if the process ends within the first second.
stays() {
    sleep 1
    alive "$1" || { tail -3 "$run/$1.log" >&2; fail "$1 ended immediately. Its log is $run/$1.log."; }
}
