#!/bin/sh
# Build the wheel and try it, installed alone, on every Python 3.11 to 3.13 that is at hand (at least one).
#
# Each gets a fresh environment outside the checkout, with the image's locked libraries, so that nothing of the
# working tree can be imported by accident.
set -eu
cd "$(dirname "$0")/.."

python=$PWD/.venv/bin/python
lock=$PWD/requirements/image.txt
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

# Print the interpreters to try, one per line: of a version, the first on PATH or under pyenv that works.
pythons() {
    for version in 3.11 3.12 3.13; do
        for candidate in "python$version" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python .venv/bin/python; do
            found=$("$candidate" -c 'import sys; print(sys.executable, "%d.%d" % sys.version_info[:2])' 2>/dev/null) \
                || continue
            [ "${found##* }" = "$version" ] || continue
            echo "${found% *}"
            break
        done
    done
}

build() {
    rm -rf dist
    "$python" -m build --no-isolation --wheel --outdir dist . >"$scratch/build.log" 2>&1 \
        || { cat "$scratch/build.log" >&2; return 1; }
    wheel=$(ls "$PWD"/dist/*.whl)
    "$python" scripts/check_wheel.py "$wheel"
}

# Install the wheel for interpreter $1 and use its commands from an empty folder.
try_on() {
    home=$scratch/trial
    rm -rf "$home"
    mkdir -p "$home/empty"
    "$1" -m venv --without-pip "$home/venv"
    "$python" -m pip --python "$home/venv/bin/python" install --quiet --quiet --disable-pip-version-check \
        --require-hashes -r "$lock"
    "$python" -m pip --python "$home/venv/bin/python" install --quiet --quiet --disable-pip-version-check \
        --no-index --no-deps "$wheel"
    (
        cd "$home/empty"
        unset PYTHONPATH
        export MILLHAND_STATE_DIR="$home/state"
        "$home/venv/bin/millhand" --help >/dev/null
        "$home/venv/bin/millhand" handlers --json | grep -q mesh-convert
        "$home/venv/bin/millhand" run noop >/dev/null
    )
    printf 'wheel: works on %s\n' "$("$1" --version)"
}

build
pythons >"$scratch/pythons"
[ -s "$scratch/pythons" ] || { echo "wheel: no Python 3.11, 3.12 or 3.13 at hand to try it on" >&2; exit 1; }
while read -r interpreter; do
    try_on "$interpreter"
done <"$scratch/pythons"
