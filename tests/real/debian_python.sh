#!/bin/sh
# debian_python.sh: Debian's own Python, with what makes environments. Services that may not look into /root need it.
set -eu
. "$(dirname "$0")/packages.sh"
need_root
makes_environments() { /usr/bin/python3 -c 'import ensurepip, venv' 2>/dev/null; }
makes_environments || in_turn eval 'apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv' >&2
makes_environments
