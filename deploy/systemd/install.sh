#!/bin/sh
# Install millhand as services of systemd: install.sh --help
set -eu

usage() {
    cat <<'TEXT'
usage: install.sh install   [--agent] [--server] --wheel FILE|--version VERSION [options]
       install.sh upgrade   --wheel FILE|--version VERSION [options]
       install.sh rollback
       install.sh uninstall [--purge [--force]]

Makes an environment of Python in /opt/millhand/VERSION and points /opt/millhand/current at it; writes
/etc/millhand, the users millhand and millhand-server, the units. Doing it again changes nothing. Root is needed.

  --agent, --server   which services; both, if neither is named
  --wheel FILE        the wheel of millhand (make wheel)
  --version VERSION   or its version, from where pip is configured to look
  --requirements FILE what it depends on, pinned by hash (requirements/image.txt)
  --extras LIST       extras of the wheel; default: server,mesh,storage
  --api-url URL       the server of the agent; default: the one of this host
  --token-file FILE   the token of agent and server; default: the one that is there, or with --server a new one
  --python PROGRAM    Python 3.11 or later; default: python3
  --no-start          enable, but start or restart nothing
  --dry-run           say what would be done

upgrade restarts the services that run, one after another: an agent drains first (MILLHAND_DRAIN_TIMEOUT), what
it could not finish goes on elsewhere or after the restart, and nothing that was finished is lost. rollback goes back
to the version before. uninstall keeps /etc/millhand and /var/lib/millhand; --purge removes them too, unless results
wait there that no server has (--force: also then).
TEXT
}

fail() {
    printf 'install.sh: %s\n' "$1" >&2
    exit "${2:-1}"
}

say() {
    printf '%s\n' "$*"
}

# do_it COMMAND…: run it, or say it with --dry-run.
do_it() {
    if [ "$dry" ]; then say "would run: $*"; else "$@"; fi
}

home=/opt/millhand
etc=/etc/millhand
state=/var/lib/millhand
noted=$state/.delivered
units=/usr/local/lib/systemd/system
here=$(cd "$(dirname "$0")" && pwd)

action=${1:-}
case $action in
    install | upgrade | rollback | uninstall) shift ;;
    -h | --help | help) usage && exit ;;
    "") usage >&2 && exit 2 ;;
    *) fail "there is no action $action; install.sh --help lists them" 2 ;;
esac

agent='' server='' wheel='' version='' requirements='' extras=server,mesh,storage api_url='' token_file=''
python=python3 start=yes dry='' purge='' force=''
while [ $# -gt 0 ]; do
    case $1 in
        --agent) agent=yes ;;
        --server) server=yes ;;
        --no-start) start='' ;;
        --dry-run) dry=yes ;;
        --purge) purge=yes ;;
        --force) force=yes ;;
        -h | --help) usage && exit ;;
        --wheel | --version | --requirements | --extras | --api-url | --token-file | --python)
            [ $# -gt 1 ] || fail "$1 wants a value" 2
            case $1 in
                --wheel) wheel=$2 ;;
                --version) version=$2 ;;
                --requirements) requirements=$2 ;;
                --extras) extras=$2 ;;
                --api-url) api_url=$2 ;;
                --token-file) token_file=$2 ;;
                --python) python=$2 ;;
            esac
            shift
            ;;
        *) fail "there is no option $1; install.sh --help lists them" 2 ;;
    esac
    shift
done
[ "$agent$server" ] || agent=yes server=yes

[ "$(id -u)" = 0 ] || [ "$dry" ] || fail "it writes /opt, /etc and units of the system: run it as root"
command -v systemctl >/dev/null || fail "there is no systemctl: this is no host with systemd"

# check_source: what is to be installed can be.
check_source() {
    [ "$wheel$version" ] || fail "name what to install: --wheel FILE or --version VERSION" 2
    [ -z "$wheel" ] || [ -z "$version" ] || fail "--wheel and --version exclude each other" 2
    [ -z "$wheel" ] || [ -f "$wheel" ] || fail "--wheel $wheel: there is no such file"
    [ -z "$requirements" ] || [ -f "$requirements" ] || fail "--requirements $requirements: there is no such file"
    [ -z "$token_file" ] || [ -s "$token_file" ] || fail "--token-file $token_file: there is no such file, or it is empty"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
        || fail "$python does not run, or is older than 3.11: name another by --python"
    "$python" -c 'import venv, ensurepip' 2>/dev/null \
        || fail "$python cannot make environments (Debian: apt-get install python3-venv)"
}

# name_of_version: the folder of what is to be installed; two wheels of one version are two.
name_of_version() {
    if [ "$version" ]; then
        echo "$version"
    else
        file=${wheel##*/millhand-}
        echo "${file%%-*}-$(sha256sum "$wheel" | cut -c 1-8)"
    fi
}

# make_environment NAME: /opt/millhand/NAME, whole or not at all.
make_environment() {
    [ ! -e "$home/$1/.complete" ] || { say "$home/$1 is there"; return; }
    say "making $home/$1"
    [ -z "$dry" ] || return 0
    rm -rf "${home:?}/$1"
    mkdir -p "$home/$1"
    "$python" -m venv "$home/$1"
    pip="$home/$1/bin/python -m pip --quiet --disable-pip-version-check --no-input"
    [ -z "$requirements" ] || $pip install --require-hashes -r "$requirements"
    if [ "$wheel" ]; then
        $pip install "$(realpath "$wheel")[$extras]"
    else
        $pip install "millhand[$extras]==$version"
    fi
    "$home/$1/bin/millhand" --version >/dev/null || fail "$home/$1/bin/millhand does not run"
    touch "$home/$1/.complete"
}

# point NAME: make it the version that services start; the one before is what rollback goes back to.
point() {
    before=$(readlink "$home/current" 2>/dev/null) || before=
    [ "$before" != "$1" ] || return 0
    say "current version: ${before:-none} -> $1"
    [ -z "$dry" ] || return 0
    [ -z "$before" ] || swap "$before" previous
    swap "$1" current
}

# swap TARGET NAME: a symbolic link that is never missing.
swap() {
    ln -sfn "$1" "$home/.$2"
    mv -T "$home/.$2" "$home/$2"
}

add_user() {
    id -u "$1" >/dev/null 2>&1 \
        || do_it useradd --system --user-group --no-create-home --home-dir "$state" --shell /usr/sbin/nologin "$1"
}

# write_once FILE MODE: the standard input, unless the file is there: it is the operator's.
write_once() {
    if [ -e "$1" ]; then
        say "$1 is kept"
        cat >/dev/null
    elif [ "$dry" ]; then
        say "would write $1"
        cat >/dev/null
    else
        (umask 077 && cat >"$1.new" && chmod "$2" "$1.new" && mv "$1.new" "$1")
        say "wrote $1"
    fi
}

write_token() {
    if [ "$token_file" ]; then
        [ "$dry" ] || (umask 077 && cat "$token_file" >"$etc/token.new" && mv "$etc/token.new" "$etc/token")
        say "wrote $etc/token"
    elif [ -s "$etc/token" ]; then
        say "$etc/token is kept"
    elif [ "$server" ]; then
        od -An -N32 -tx1 /dev/urandom | tr -d ' \n' | write_once "$etc/token" 600
    else
        fail "an agent needs a token of its server: --token-file FILE (there: millhand token create --scope work)" 2
    fi
}

write_settings() {
    [ "$dry" ] || { mkdir -p "$etc" && chmod 755 "$etc"; }
    write_token
    [ -z "$server" ] || write_once "$etc/server.env" 644 <<'TEXT'
# Settings of millhand-server.service: NAME=value, as `millhand serve --help` names them.
# Where it listens is said by millhand-server.socket (systemctl edit millhand-server.socket).
#MILLHAND_SERVER_DB=postgresql://jobs@db.example.com/jobs
# What machines cost, for reports in money (docs/dashboard.md); read when the server starts.
#MILLHAND_SERVER_PRICES=/etc/millhand/prices.toml
TEXT
    [ -z "$agent" ] || write_once "$etc/agent.env" 644 <<TEXT
# Settings of millhand-agent.service and every millhand-agent@NAME.service: NAME=value, as \`millhand agent --help\`
# names them. /etc/millhand/agent-NAME.env holds what only one has, such as MILLHAND_GPUS=0.
MILLHAND_API_URL=${api_url:-http://127.0.0.1:8077}
MILLHAND_CONCURRENCY=1
MILLHAND_HTTP_PORT=9400
TEXT
}

write_units() {
    do_it mkdir -p "$units"
    for unit in ${agent:+millhand-agent.service millhand-agent@.service} \
        ${server:+millhand-server.service millhand-server.socket}; do
        do_it install -m 644 "$here/$unit" "$units/$unit"
    done
    do_it systemctl daemon-reload
}

# check_landlock: the agent's unit confines handlers by it, and does not start without.
check_landlock() {
    grep -qsw landlock /sys/kernel/security/lsm && return
    [ -e /sys/kernel/security/lsm ] || return 0 # not to be seen here: the agent says it itself
    say "note: this kernel has no Landlock. For the agent to start, handlers must do without:"
    say "  systemctl edit millhand-agent  ->  [Service] Environment=MILLHAND_HARDENING=no_new_privs"
}

running_units() {
    systemctl list-units --plain --no-legend --state=active,activating,reloading \
        'millhand-server.service' 'millhand-agent.service' 'millhand-agent@*.service' | cut -d ' ' -f 1
}

restart_running() {
    for unit in $(running_units); do
        say "restarting $unit"
        do_it systemctl restart "$unit"
    done
}

start_services() {
    for unit in ${server:+millhand-server.socket millhand-server.service} ${agent:+millhand-agent.service}; do
        do_it systemctl enable --quiet "$unit"
        [ -z "$start" ] || { say "starting $unit" && do_it systemctl start "$unit"; }
    done
}

stop_services() {
    for unit in $(running_units) millhand-server.socket; do
        ! systemctl is-active --quiet "$unit" || do_it systemctl stop "$unit" || fail "$unit does not stop"
    done
    for link in /etc/systemd/system/*.wants/millhand-*; do # also of millhand-agent@NAME, which no list of files has
        [ ! -L "$link" ] || do_it systemctl disable --quiet "${link##*/}" || :
    done
}

# journal_of FOLDER: what tells its journal from one that was written to since.
journal_of() {
    (cd "$1" && find journal -type f -exec sha256sum {} + | sort | sha256sum | cut -d ' ' -f 1)
}

# check_journal FOLDER: say why its journal may hold results that no server has.
check_journal() {
    if [ ! -x "$home/current/bin/millhand" ]; then # uninstalled before, which noted the journals without any
        ! grep -qsxF "$(journal_of "$1") $1" "$noted" || return 0
        say "there is no millhand any more to read the journal in $1, which held results that no server has, or has changed since; install it again"
        return 1
    fi
    open=$("$home/current/bin/millhand" journal --json --state-dir "$1" 2>/dev/null) \
        || { say "cannot read the journal in $1, which may hold results that no server has"; return 1; }
    printf %s "$open" | "$home/current/bin/python" -c '
import json, sys
seen = json.load(sys.stdin)
sys.exit(any(seen[what] for what in ("entries", "damaged", "setAside")))' \
        || { say "$1 holds results that no server has, or damaged ones (millhand journal --state-dir $1)"; return 1; }
}

# check_undelivered: results that only this host has must not go with a purge.
check_undelivered() {
    [ -z "$force" ] || return 0
    for folder in "$state"/agent*; do
        [ -d "$folder/journal" ] || continue
        why=$(check_journal "$folder") || fail "$why; --force removes them anyway"
    done
}

# note_delivered: for a purge that comes when no program is left that reads journals.
note_delivered() {
    [ -d "$state" ] && [ -x "$home/current/bin/millhand" ] || return 0
    : >"$noted.new"
    for folder in "$state"/agent*; do
        [ -d "$folder/journal" ] || continue
        if why=$(check_journal "$folder"); then
            echo "$(journal_of "$folder") $folder" >>"$noted.new"
        else
            say "kept: $why"
        fi
    done
    mv "$noted.new" "$noted"
}

case $action in
    install)
        check_source
        name=$(name_of_version)
        make_environment "$name"
        add_user millhand
        [ -z "$server" ] || add_user millhand-server
        write_settings
        write_units
        running=$(running_units)
        point "$name"
        [ -z "$agent" ] || check_landlock
        [ -z "$start" ] || [ -z "$running" ] || [ "${before:-}" = "$name" ] || restart_running
        start_services
        say "installed: systemctl status 'millhand-*'; systemctl edit millhand-agent changes its unit"
        ;;
    upgrade)
        check_source
        [ -L "$home/current" ] || fail "nothing is installed in $home: install.sh install"
        [ -e "$units/millhand-agent.service" ] || agent=
        [ -e "$units/millhand-server.service" ] || server=
        name=$(name_of_version)
        make_environment "$name"
        write_units
        point "$name"
        [ -z "$start" ] || restart_running
        say "upgraded; install.sh rollback goes back"
        ;;
    rollback)
        before=$(readlink "$home/previous") || fail "there is no version before in $home"
        now=$(readlink "$home/current")
        say "current version: $now -> $before"
        [ "$dry" ] || { swap "$now" previous && swap "$before" current; }
        [ -z "$start" ] || restart_running
        ;;
    uninstall)
        # Once while they work, so that a refusal changes nothing; and once they have stopped, which may leave a result.
        [ -z "$purge" ] || check_undelivered
        stop_services
        [ -z "$purge" ] || [ "$dry" ] || check_undelivered
        [ "$purge" ] || [ "$dry" ] || note_delivered
        do_it rm -rf "$home"
        do_it rm -f "$units/millhand-agent.service" "$units/millhand-agent@.service" \
            "$units/millhand-server.service" "$units/millhand-server.socket"
        do_it systemctl daemon-reload
        if [ "$purge" ]; then
            do_it rm -rf "$etc" "$state" /var/cache/millhand
            for user in millhand millhand-server; do ! id -u "$user" >/dev/null 2>&1 || do_it userdel "$user"; done
            say "removed, with its settings and its state"
        else
            say "removed; $etc and $state are kept (--purge removes them)"
        fi
        ;;
esac
