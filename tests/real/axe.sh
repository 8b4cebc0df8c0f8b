#!/bin/sh
# axe.sh FOLDER: put axe-core, which finds what keeps people from using a page, into FOLDER, from the package index that
# this machine is configured for. It is MPL-2.0, and no part of millhand.
set -eu
mkdir -p "$1"
cd "$1"
npm install --silent --no-audit --no-fund axe-core@4.14.1 >/dev/null
cp node_modules/axe-core/axe.min.js .
