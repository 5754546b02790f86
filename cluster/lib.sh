# Functions that the scripts of this folder share. The scripts source this file.

# REALERTIME_BINARY may be relative to the caller's folder, so it is read before the folder changes. A node would treat the variable as a misspelt key, so it is unset.
caller=$PWD
given=""
[ -z "${REALERTIME_BINARY:-}" ] || given=$(realpath "$REALERTIME_BINARY")
unset REALERTIME_BINARY
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

say() { printf '\033[1m%s\033[0m\n' "$*" | if [ -t 1 ]; then cat; else sed 's/\x1b\[[0-9;]*m//g'; fi; }
fail() { printf '%s\n' "$*" >&2; exit 1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else
        fail "Only root can install packages. Run this script as root, or install the packages named above first. The command that failed: $*"
    fi
}

# Installs the Debian packages that are missing. Needs no network if none is missing.
need_packages() {
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] && return
    command -v apt-get >/dev/null || fail "These packages are missing: ${missing[*]}. Install them first, because this script can install packages only with apt-get."
    say "Installing ${missing[*]}"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

need_swift() {
    command -v swift >/dev/null || fail "Swift is missing: install 6.2 or newer from https://www.swift.org/install/linux and put it on PATH."
    need_packages libhiredis-dev libsqlite3-dev libzookeeper-mt-dev
}

# Sets `binary`. Builds the release binary, one file that includes the Swift libraries, unless REALERTIME_BINARY names another binary.
build_release() {
    if [ -n "$given" ]; then
        binary=$given
        return
    fi
    local commit
    commit=$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
    [ -z "$(git status --porcelain -- Sources Package.swift 2>/dev/null)" ] || commit+=-dirty
    binary=$root/.build/release/realertime
    # The build system needs several seconds to find that nothing has changed. This check is faster.
    local stamp
    stamp=$commit-$(find Package.swift Sources -type f -printf '%p %T@ %s\n' | sort | cksum | cut -d' ' -f1)
    if [ -x "$binary" ] && [ "$(cat .build/release.stamp 2>/dev/null)" = "$stamp" ]; then return; fi
    say "Building (the first build takes several minutes)"
    # Exclusivity checks are off, because they cost a twentieth of the CPU. The tests run debug builds, which have the checks.
    # REALERTIME_COMMIT is set for the build only: a node would treat the variable as a misspelt key.
    REALERTIME_COMMIT=$commit swift build -c release --static-swift-stdlib -Xlinker --strip-debug -Xswiftc -enforce-exclusivity=unchecked --product realertime
    echo "$stamp" >.build/release.stamp
}
