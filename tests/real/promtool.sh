#!/bin/sh
# Run Debian's promtool: only the program is taken out of its package, which would bring a service and a user.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=packages.sh
. "$here/packages.sh"

if found=$(command -v promtool); then exec "$found" "$@"; fi
program=${MILLHAND_PROMTOOL:-$here/../../build/promtool}
if [ ! -x "$program" ]; then
    command -v apt-get >/dev/null || { echo "there is no promtool, and no apt-get to get it" >&2; exit 75; }
    mkdir -p "$(dirname "$program")"
    folder=$(mktemp -d "$program.XXXXXX")
    trap 'rm -rf "$folder"' EXIT
    (
        cd "$folder"
        download_package prometheus
        dpkg-deb --fsys-tarfile prometheus_*.deb | tar x ./usr/bin/promtool
    ) >&2 </dev/null
    mv "$folder/usr/bin/promtool" "$program" # at once: another test may do the same
    rm -rf "$folder"
fi
exec "$program" "$@"
