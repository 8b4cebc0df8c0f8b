#!/bin/sh
# with_systemd.sh COMMAND…: run COMMAND beside a real systemd, booted over a throw-away copy of this machine's
# root. IN is what runs a command inside:  $IN systemctl start …
#
# The copy is an overlay: whatever is installed here is there, and whatever is written goes when COMMAND ends.
# FILES=folder is laid over it before the boot; BIND="folder …" are seen inside wherever they come from. On cgroup v1 a container's systemd cannot set limits, since
# its hierarchies are read-only: here it starts inside groups of its own and gets them writable.
set -eu
. "$(dirname "$0")/packages.sh"
need_root
install_for systemd-nspawn systemd-container
install_for nsenter util-linux

folder=$(mktemp -d -p /var/tmp)
name=millhand-systemd-$$
booted=

v1_controllers() {
    for controller in memory pids cpu cpuacct; do
        [ ! -e "/sys/fs/cgroup/$controller/cgroup.procs" ] || echo $controller
    done
}

clean() {
    [ -z "$booted" ] || { kill "$booted" 2>/dev/null && wait "$booted" 2>/dev/null; } || :
    umount -l "$folder/root" 2>/dev/null || :
    find /sys/fs/cgroup -depth -type d -path "*/$name*" -exec rmdir {} \; 2>/dev/null || :
    rm -rf "$folder"
}
trap clean EXIT
trap 'exit 1' HUP INT TERM

mkdir "$folder/upper" "$folder/work" "$folder/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/upper,workdir=$folder/work" "$folder/root"
[ -z "${FILES:-}" ] || cp -a "$FILES/." "$folder/root/"

(
    set --
    for controller in $(v1_controllers); do
        own=$(sed -n "s/^[0-9]*:$controller://p" /proc/self/cgroup)
        group=/sys/fs/cgroup/$controller${own%/}/$name
        mkdir "$group"
        sh -c 'echo "$PPID"' >"$group/cgroup.procs"
    done
    # Beside v1 there may be a unified hierarchy without controllers: two machines shall not meet in it.
    if [ -e /sys/fs/cgroup/unified/cgroup.procs ]; then
        own=$(sed -n 's/^0:://p' /proc/self/cgroup)
        group=/sys/fs/cgroup/unified${own%/}/$name
        mkdir "$group"
        sh -c 'echo "$PPID"' >"$group/cgroup.procs"
    fi
    for bound in ${BIND:-}; do set -- "--bind-ro=$bound" "$@"; done
    exec systemd-nspawn --quiet --directory "$folder/root" --boot --register=no --keep-unit --machine="$name" \
        --private-network --system-call-filter='landlock_create_ruleset landlock_add_rule landlock_restrict_self' \
        --console=pipe "$@" systemd.unit=basic.target </dev/null >"$folder/console" 2>&1
) &
booted=$!

IN=
tries=600
until [ "$IN" ] && case $($IN systemctl is-system-running 2>/dev/null) in running | degraded) ;; *) false ;; esac do
    tries=$((tries - 1))
    if [ $tries = 0 ] || ! kill -0 $booted 2>/dev/null; then
        tail -n 20 "$folder/console" >&2
        exit 1
    fi
    sleep 0.05
    leader=$(cat /proc/$booted/task/$booted/children 2>/dev/null) || :
    leader=${leader%% *}
    IN="${leader:+nsenter -t $leader -m -u -i -n -p -r -w -C env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin}"
done
for controller in $(v1_controllers); do
    $IN mount -o remount,bind,rw,nosuid,nodev,noexec "/sys/fs/cgroup/$controller"
done
[ -z "$(v1_controllers)" ] || $IN systemctl daemon-reexec
export IN

"$@"
