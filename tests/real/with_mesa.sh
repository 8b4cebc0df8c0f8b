#!/bin/sh
# with_mesa.sh COMMAND…: run COMMAND where a Chromium is, and Mesa beside it: an OpenGL that is not Chromium's own, by
# EGL as on a machine with a GPU. It draws on the processor (llvmpipe). MILLHAND_CHROMIUM names the browser.
set -eu
. "$(dirname "$0")/packages.sh"
need_root
install_file_for '/usr/lib/*/libEGL.so.1' libegl1
install_file_for '/usr/lib/*/dri/swrast_dri.so' libgl1-mesa-dri
exec "$(dirname "$0")/with_chromium.sh" "$@"
