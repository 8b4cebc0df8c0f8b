#!/bin/sh
# Make .venv ready: the locked tools and libraries, and this project, editable.
#
# Needs a Python >= 3.11 with pip, nothing else (no ensurepip, no new pip). A second call that finds
# everything in step ends at once. The stamps are written last, so an interrupted call is repeated.
# PYTHON=… chooses the interpreter.
set -eu
cd "$(dirname "$0")/.."

venv=.venv
libraries_stamp=$venv/.libraries
project_stamp=$venv/.project

# An activated .venv stands first in PATH. It is what is made anew here, so it cannot be what makes it.
PATH=$(printf '%s' "$PATH" | tr ':' '\n' | grep -vxF -e "$PWD/$venv/bin" -e "$(pwd -P)/$venv/bin" | paste -sd : -)

fail() {
    printf 'setup: %s\n' "$1" >&2
    exit 1
}

# Tell whether $1 can be run (a pyenv shim of a version that is not selected exists, but cannot) and is new enough.
is_usable() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= tuple(map(int, sys.argv[1:])))' 3 "$2" \
        >/dev/null 2>&1
}

# Print the interpreter to use: $PYTHON, else a tested version (3.11 to 3.13), else any later one.
find_python() {
    if [ -n "${PYTHON:-}" ]; then
        is_usable "$PYTHON" 99 || fail "PYTHON=$PYTHON does not run or is older than 3.11; name a newer one"
        echo "$PYTHON"
        return
    fi
    for newest in 13 99; do
        for candidate in python3 python3.13 python3.12 python3.11 python; do
            if is_usable "$candidate" "$newest"; then
                echo "$candidate"
                return
            fi
        done
    done
    fail "no Python 3.11 or later found; install one, or name it: make setup PYTHON=/path/to/python3"
}

# Print what the libraries in .venv depend on: the lock, this script, and where the folder is.
libraries_key() {
    cat requirements/dev.txt scripts/setup.sh | cksum
    pwd -P
}

# Tell whether .venv works and is of the version that PYTHON=… asks for, if it does.
is_venv_usable() {
    [ -x $venv/bin/python ] || return 1
    version='import sys; print(sys.version_info[:2])'
    found=$($venv/bin/python -S -E -c "$version" 2>/dev/null) || return 1
    [ -z "${PYTHON:-}" ] || [ "$found" = "$("$PYTHON" -c "$version")" ]
}

project_key() {
    cat pyproject.toml | cksum
}

is_current() {
    [ -f "$2" ] && [ "$(cat "$2")" = "$1" ]
}

pip_install() {
    $venv/bin/python -m pip install --quiet --quiet --disable-pip-version-check "$@"
}

# Put pip into .venv with the outer pip. `--target` works with every pip, and with Debian's, which refuses to touch
# the system; the settings named here would turn it elsewhere. It makes no commands for .venv/bin, so pip then
# installs itself.
bootstrap_pip() {
    awk '/^[^ ]/ { wanted = /^pip==/ } wanted' requirements/dev.txt >$venv/pip.txt
    site=$($venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 "$1" -m pip install --quiet --quiet --disable-pip-version-check \
        --no-warn-script-location --require-hashes --target "$site" -r $venv/pip.txt \
        && rm -rf "${site:?}/bin" \
        && pip_install --force-reinstall --require-hashes -r $venv/pip.txt
}

make_venv() {
    python=$(find_python)
    "$python" -m pip --version >/dev/null 2>&1 \
        || fail "$python has no pip; install it (Debian: apt-get install python3-pip) or name another: PYTHON=…"
    printf 'setup: making .venv with %s\n' "$("$python" --version 2>&1)"
    rm -rf $venv
    "$python" -m venv --without-pip $venv
    bootstrap_pip "$python" || fail "pip could not be installed into .venv; see above (is the package index in reach?)"
}

if ! is_current "$(libraries_key)" $libraries_stamp || ! is_venv_usable; then
    make_venv
    echo "setup: installing the locked libraries (a minute or so the first time)"
    pip_install --require-hashes -r requirements/dev.txt \
        || fail "the libraries could not be installed; see above, then run it again"
    libraries_key >$libraries_stamp
fi

if ! is_current "$(project_key)" $project_stamp; then
    echo "setup: installing millhand itself, editable"
    pip_install --no-index --no-deps --no-build-isolation --editable . \
        || fail "the project itself could not be installed; see above"
    project_key >$project_stamp
    echo "setup: ready; the command is .venv/bin/millhand"
fi
