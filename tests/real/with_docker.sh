#!/bin/sh
# with_docker.sh COMMAND…: run COMMAND beside a private dockerd; DOCKER_HOST names it. The network of this
# machine is left alone, its images and containers go when COMMAND ends, and so do their control groups.
#
# The image millhand/host is a root with nothing in it but folders: containers mount what they need of this
# machine, read-only. So no registry is asked, and what is tested are the very files that lie here.
# millhand/small is a busybox, for the handler `container`, which mounts nothing of this machine.
set -eu
. "$(dirname "$0")/packages.sh"
. "$(dirname "$0")/small_image.sh"
need_root
install_for dockerd '^docker[.]io$' # apt reads an expression; the dot of the name reads like a host's
PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH

folder=$(mktemp -d)
group=millhand-docker-$$
DOCKER_HOST=unix://$folder/docker.sock
export DOCKER_HOST
daemon=

clean() {
    if [ "$daemon" ]; then
        docker ps -q | xargs -r docker kill >/dev/null 2>&1 || :
        kill "$daemon" 2>/dev/null && wait "$daemon" 2>/dev/null || :
    fi
    grep -o " ${folder}[^ ]*" /proc/self/mounts | sort -r | xargs -r -n1 umount -l 2>/dev/null || :
    find /sys/fs/cgroup -depth -type d -path "*/$group*" -exec rmdir {} \; 2>/dev/null || :
    rm -rf "$folder"
}
trap clean EXIT
trap 'exit 1' HUP INT TERM

dockerd --data-root "$folder/data" --exec-root "$folder/exec" -p "$folder/pid" -H "$DOCKER_HOST" \
    --cgroup-parent "/$group" --bridge=none --iptables=false --ip6tables=false --ip-forward=false \
    --ip-masq=false >"$folder/log" 2>&1 &
daemon=$!
tries=300
until docker info >/dev/null 2>&1; do
    tries=$((tries - 1))
    if [ $tries = 0 ] || ! kill -0 $daemon 2>/dev/null; then
        tail -n 5 "$folder/log" >&2
        exit 1
    fi
    sleep 0.1
done

mkdir "$folder/root"
(
    cd "$folder/root"
    mkdir -p usr etc tmp proc sys dev root run var/tmp
    for name in bin sbin lib lib64; do [ ! -L /$name ] || ln -s usr/$name $name; done
    echo 'root:x:0:0::/root:/bin/sh' >etc/passwd
    echo '127.0.0.1 localhost' >etc/hosts
    tar -c .
) | docker import - millhand/host >/dev/null

small_root "$folder/small"
tar -c -C "$folder/small" . | docker import - millhand/small:1 >/dev/null

"$@"
