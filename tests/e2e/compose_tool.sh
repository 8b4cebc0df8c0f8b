#!/bin/sh
# compose_tool.sh: get Debian's docker-compose where there is none.
set -eu
. "$(dirname "$0")/../real/packages.sh"
need_root
install_for docker-compose '^docker-compose$'
