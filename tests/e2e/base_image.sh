#!/bin/sh
# base_image.sh NAME: make an image of Debian with its Python, for the engine that DOCKER_HOST names. No registry is
# asked; the packages come from where this machine's own do.
set -eu
. "$(dirname "$0")/../real/packages.sh"
need_root
install_for mmdebstrap mmdebstrap
lists=$(find /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources 2>/dev/null | head -n 1)
mmdebstrap --quiet --variant=minbase --include=python3,python3-venv,ca-certificates bookworm - "$lists" \
    | /usr/bin/docker import - "$1" >/dev/null
