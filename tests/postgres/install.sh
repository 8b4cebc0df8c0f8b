#!/bin/sh
# install.sh: install PostgreSQL's programs where there are none; no service of the machine's own is started.
set -eu
. "$(dirname "$0")/../real/packages.sh"
need_root
set -- /usr/lib/postgresql/*/bin/postgres
[ -x "$1" ] || install_for postgres postgresql
