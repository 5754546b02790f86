# Shared by up, status, kill, pause and down: where the local cluster is. Sourced, not run.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Everything the local cluster leaves on the disk; `down` removes it.
run=$root/realertime-cluster

# Node 1 has the default ports, the others follow in steps of ten.
listen_port() { echo $((8070 + 10 * $1)); }
api_port() { echo $((8071 + 10 * $1)); }
link_port() { echo $((8072 + 10 * $1)); }
client_port() { echo $((12180 + $1)); }

# The process a pid file names, if it is still the one that was started.
alive() {
    local pid
    pid=$(cat "$run/$1.pid" 2>/dev/null) || return 1
    [ -r "/proc/$pid/cmdline" ] && tr '\0' ' ' <"/proc/$pid/cmdline" | grep -qF "$run/$1"
}

names() { for file in "$run"/${1:-*}.pid; do [ -e "$file" ] && basename "$file" .pid; done; }

# Starts a command in the background, its output in NAME.log, its process id in NAME.pid. NAME's files are among its arguments, so that `alive` knows it.
start() {
    local name=$1
    shift
    # How to start it again.
    printf '%q ' "$@" >"$run/$name.command"
    setsid "$@" >>"$run/$name.log" 2>&1 </dev/null &
    echo $! >"$run/$name.pid"
}

need_node() {
    case ${1:-} in -h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;; esac
    [ -n "${1:-}" ] || fail "Which one? There are: $(names | xargs)"
    [ -e "$run/$1.pid" ] || fail "There is no $1. There are: $(names | xargs)"
}

start_node() {
    start "$1" "$binary" node --config "$run/$1.yaml"
}

start_again() {
    eval "start $1 $(cat "$run/$1.command")"
    sleep 1
    alive "$1" || { tail -3 "$run/$1.log"; fail "$1 ended at once; its log is $run/$1.log"; }
}
