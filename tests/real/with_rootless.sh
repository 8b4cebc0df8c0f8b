#!/bin/sh
# with_rootless.sh COMMAND…: run COMMAND, as root, beside a user who has a podman without root; ROOTLESS_HOME is the user's
# folder, and its last part the user's name. User, images and containers go when COMMAND ends.
#
# The image localhost/millhand/small is a busybox, as beside podman as root.
set -eu
. "$(dirname "$0")/packages.sh"
. "$(dirname "$0")/small_image.sh"
need_root
install_for podman '^podman$'
install_for runc '^runc$'
install_for catatonit '^catatonit$'
install_for newuidmap '^uidmap$'
PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH

folder=$(mktemp -d)
user=millhand-$$
ROOTLESS_HOME=$folder/$user
export ROOTLESS_HOME

# as_user COMMAND…: with an environment of the user's own.
as_user() {
    (
        cd "$ROOTLESS_HOME"
        setpriv --reuid="$user" --regid="$user" --init-groups env -i HOME="$ROOTLESS_HOME" PATH="$PATH" \
            XDG_RUNTIME_DIR="$ROOTLESS_HOME/run" CONTAINERS_CONF="$ROOTLESS_HOME/containers.conf" \
            CONTAINERS_STORAGE_CONF="$ROOTLESS_HOME/storage.conf" "$@"
    )
}

clean() {
    as_user podman rm --all --force --time 0 >/dev/null 2>&1 || :
    pkill -KILL -u "$user" 2>/dev/null || : # podman keeps a process that holds the user's namespace
    userdel "$user" 2>/dev/null || :
    grep -o " ${folder}[^ ]*" /proc/self/mounts | sort -r | xargs -r -n1 umount -l 2>/dev/null || :
    rm -rf "$folder"
}
trap clean EXIT
trap 'exit 1' HUP INT TERM

chmod 755 "$folder"
useradd --create-home --home-dir "$ROOTLESS_HOME" "$user"
mkdir -m 700 "$ROOTLESS_HOME/run"
cat >"$ROOTLESS_HOME/containers.conf" <<END
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=2000:2000"]
netns = "none"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
END
cat >"$ROOTLESS_HOME/storage.conf" <<END
[storage]
driver = "vfs"
graphroot = "$ROOTLESS_HOME/data"
runroot = "$ROOTLESS_HOME/run/containers"
END
small_root "$ROOTLESS_HOME/root"
tar -c -C "$ROOTLESS_HOME/root" . >"$ROOTLESS_HOME/root.tar"
chown -R "$user:$user" "$ROOTLESS_HOME"
as_user podman import --quiet root.tar localhost/millhand/small:1 >/dev/null

"$@"
