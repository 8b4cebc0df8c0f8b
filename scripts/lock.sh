#!/bin/sh
# Pin and hash every requirement: dev.txt for development and tests, image.txt for the container, build.txt for the
# stage that builds it, sbom.txt for its bill of materials.
#
# Resolve with the oldest Python that is supported, so that the pins hold on all of them. Pins that still fit
# stay; UPGRADE=1 takes the newest. No address of an index gets into the files.
set -eu
cd "$(dirname "$0")/.."

python=.venv/bin/python
[ "$($python -c 'import sys; print(sys.version_info[:2] == (3, 11))')" = True ] \
    || { echo "lock: wants a .venv of Python 3.11: make clean setup PYTHON=python3.11, then make lock" >&2; exit 1; }

compile() {
    target=$1
    shift
    env -u PIP_FIND_LINKS -u PIP_EXTRA_INDEX_URL $python -m piptools compile --quiet ${UPGRADE:+--upgrade} \
        --generate-hashes --allow-unsafe --strip-extras --no-header --no-annotate \
        --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options \
        --output-file "requirements/$target" "$@"
}

compile dev.txt --all-extras pyproject.toml requirements/dev.in
# The image gets the same versions that the tests ran with.
compile image.txt --all-extras --constraint requirements/dev.txt pyproject.toml requirements/image.in
compile build.txt --constraint requirements/dev.txt requirements/build.in
compile sbom.txt --constraint requirements/dev.txt requirements/sbom.in
$python scripts/check_lock.py
