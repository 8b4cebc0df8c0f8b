#!/bin/sh
# with_sudo.sh [COMMAND…]: install sudo if it is not there, and run COMMAND.
set -eu
. "$(dirname "$0")/packages.sh"
need_root
install_for sudo sudo
"$@"
