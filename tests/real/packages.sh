# shellcheck shell=sh
# Sourced by the scripts here: install a Debian package when a program is not there yet.

# install_for PROGRAM PACKAGE: nothing where the program is found; services that come with it are not started.
install_for() {
    PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null && return
    command -v apt-get >/dev/null || { echo "there is no $1, and no apt-get to install $2" >&2; return 1; }
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
