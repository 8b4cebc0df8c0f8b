#!/bin/sh
# with_podman.sh COMMAND…: run COMMAND beside a podman of its own, below PODMAN_ROOT; CONTAINERS_CONF and
# CONTAINERS_STORAGE_CONF name it. Images, containers and control groups go when COMMAND ends.
#
# The image localhost/millhand/small is a busybox. The settings are what a container in a container needs: runc,
# since crun refuses hybrid hosts; limits that may be set here; control groups without systemd.
set -eu
. "$(dirname "$0")/packages.sh"
. "$(dirname "$0")/small_image.sh"
need_root
install_for podman '^podman$'
install_for runc '^runc$'
install_for catatonit '^catatonit$'
PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH

PODMAN_ROOT=$(mktemp -d)
export PODMAN_ROOT
export CONTAINERS_CONF="$PODMAN_ROOT/containers.conf" CONTAINERS_STORAGE_CONF="$PODMAN_ROOT/storage.conf"

clean() {
    podman rm --all --force --time 0 >/dev/null 2>&1 || :
    grep -o " ${PODMAN_ROOT}[^ ]*" /proc/self/mounts | sort -r | xargs -r -n1 umount -l 2>/dev/null || :
    find /sys/fs/cgroup -depth -type d -path "*/libpod_parent*" -exec rmdir {} \; 2>/dev/null || :
    rm -rf "$PODMAN_ROOT"
}
trap clean EXIT
trap 'exit 1' HUP INT TERM

cat >"$CONTAINERS_CONF" <<END
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=20000:20000"]
cgroups = "enabled"
netns = "none"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
tmp_dir = "$PODMAN_ROOT/tmp"
END
cat >"$CONTAINERS_STORAGE_CONF" <<END
[storage]
driver = "overlay"
graphroot = "$PODMAN_ROOT/data"
runroot = "$PODMAN_ROOT/run"
END

small_root "$PODMAN_ROOT/root"
tar -c -C "$PODMAN_ROOT/root" . | podman import --quiet - localhost/millhand/small:1 >/dev/null
"$@"
