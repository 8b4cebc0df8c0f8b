#!/bin/sh
# with_chromium.sh COMMAND…: run COMMAND where a Chromium is; MILLHAND_CHROMIUM names it. It is installed if it is not there.
set -eu
. "$(dirname "$0")/packages.sh"
MILLHAND_CHROMIUM=${MILLHAND_CHROMIUM:-chromium}
if ! command -v "$MILLHAND_CHROMIUM" >/dev/null; then
    need_root
    install_for "$MILLHAND_CHROMIUM" chromium
fi
MILLHAND_CHROMIUM=$(command -v "$MILLHAND_CHROMIUM")
export MILLHAND_CHROMIUM
"$@"
