# What the service scripts share: where things are kept, how to speak, how to wait. Sourced, not run.
#
# Only what a person or a program may want to use goes to standard output (`export NAME=VALUE`); all else is told on
# standard error, so that `eval "$(io-real/services/kafka start)"` works.

SERVICES=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$SERVICES/../.." && pwd)
CACHE=$ROOT/.services

say() { echo "$NAME: $*" >&2; }
die() {
    say "$*"
    exit 1
}

# Stands in line behind every other start or stop of the same directory. Servers must not inherit the lock: start
# them with `9>&-`.
lock() {
    command -v flock >/dev/null || die "flock is missing: install util-linux"
    mkdir -p "$CACHE"
    exec 9>"$CACHE/$NAME-$(cksum <<<"$1" | cut -d' ' -f1).lock"
    flock -w 300 9 || die "another start or stop has held $1 for five minutes"
}

# Installs Debian packages when that is possible without asking; otherwise says which ones.
install() {
    if [[ $(id -u) -ne 0 ]] || ! command -v apt-get >/dev/null; then
        die "$1 is missing. Install it first, on Debian or Ubuntu: sudo apt-get install ${*:2}"
    fi
    say "installing $1 (apt-get install ${*:2})"
    {
        apt-get -q update
        DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "${@:2}"
    } >&2
}

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# The first port from $1 upwards that nobody listens on.
free_port() {
    local port=$1
    while listening "$port"; do port=$((port + 1)); done
    echo "$port"
}

# Asks "$@" until it succeeds, for at most $1 seconds.
wait_for() {
    local end=$((SECONDS + $1))
    until "${@:2}"; do
        ((SECONDS < end)) || return 1
        sleep 0.1
    done
}
