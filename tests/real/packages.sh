# shellcheck shell=sh
# Sourced by the scripts here: get Debian packages when a program is not there yet.
# Test processes run side by side, and apt-get lets one in at a time: they queue for it.

# install_for PROGRAM PACKAGE: nothing where the program is found; services that come with it are not started.
install_for() {
    is_there "$1" && return
    command -v apt-get >/dev/null || { echo "there is no $1, and no apt-get to install $2" >&2; return 1; }
    in_turn install_unless_there "$1" "$2"
}

# download_package PACKAGE: its file, into this folder.
download_package() {
    in_turn apt-get download -qq "$1" >/dev/null 2>&1 \
        || in_turn eval "apt-get update -qq && apt-get download -qq '$1'" >&2
}

# in_turn COMMAND…: while nobody else of ours does.
in_turn() {
    (flock 9 && "$@" 9>&-) 9>/var/lock/millhand-packages.lock
}

# is_there PROGRAM: whether root can run it.
is_there() {
    PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null
}

# install_unless_there PROGRAM PACKAGE
install_unless_there() {
    is_there "$1" && return
    policy=/usr/sbin/policy-rc.d
    if [ -e $policy ]; then policy=; else printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy; fi
    DEBIAN_FRONTEND=noninteractive
    export DEBIAN_FRONTEND
    status=0
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends "$2"; } </dev/null >&2 || status=$?
    [ -z "$policy" ] || rm -f $policy
    return $status
}

# install_file_for FILE PACKAGE: the same by a file, which may be a pattern: a library is no program.
install_file_for() {
    for file in $1; do [ ! -e "$file" ] || return 0; done
    install_for "$1" "$2"
}

# need_root: what starts containers, systems and machines must be root.
need_root() {
    [ "$(id -u)" = 0 ] || { echo "$0 must be run as root" >&2; exit 1; }
}
