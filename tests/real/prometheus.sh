#!/bin/sh
# prometheus.sh promtool|prometheus ARGUMENT…: run Debian's; only the programs are taken out of their package, which would bring a
# service and a user.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=packages.sh
. "$here/packages.sh"

name=$1
shift
if found=$(command -v "$name"); then exec "$found" "$@"; fi
folder=${MILLHAND_PROMETHEUS:-$here/../../build/prometheus}
if [ ! -x "$folder/$name" ]; then
    command -v apt-get >/dev/null || { echo "there is no $name, and no apt-get to get it" >&2; exit 75; }
    mkdir -p "$folder"
    part=$(mktemp -d "$folder/XXXXXX")
    trap 'rm -rf "$part"' EXIT
    (
        cd "$part"
        download_package prometheus
        dpkg-deb --fsys-tarfile prometheus_*.deb | tar x ./usr/bin/promtool ./usr/bin/prometheus
    ) >&2 </dev/null
    mv "$part/usr/bin/promtool" "$part/usr/bin/prometheus" "$folder/" # each at once: another test may do the same
    rm -rf "$part"
fi
exec "$folder/$name" "$@"
