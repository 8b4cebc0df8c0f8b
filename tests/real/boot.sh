#!/bin/sh
# boot.sh ARCHIVE: boot Debian's kernel with ARCHIVE as its root in an emulated machine, and print its console.
# The kernel is unpacked, not installed. The machine has no disk and no network; pure cgroup v2 is in it.
# It goes with whoever started it: at the end of the standard input it is switched off.
set -eu
. "$(dirname "$0")/packages.sh"
install_for qemu-system-x86_64 qemu-system-x86

archive=$(realpath "$1")
folder=$(mktemp -d)
machine=
watcher=
clean() {
    for pid in $machine $watcher; do kill "$pid" 2>/dev/null || :; done
    rm -rf "$folder"
}
trap clean EXIT
trap 'exit 1' HUP INT TERM

cd "$folder"
[ -n "$(apt-cache depends linux-image-cloud-amd64 2>/dev/null)" ] || in_turn apt-get update -qq >&2
image=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1)
download_package "$image"
dpkg-deb -x linux-image-*.deb kernel

qemu-system-x86_64 -M q35 -accel tcg,thread=multi -cpu max -m 1500 -smp 2 -nographic -no-reboot -nic none \
    -kernel kernel/boot/vmlinuz-* -initrd "$archive" -append 'console=ttyS0 quiet panic=-1 random.trust_cpu=on' \
    </dev/null &
machine=$!
exec 3<&0
(
    cat <&3 >/dev/null
    kill $machine
) >/dev/null 2>&1 &
watcher=$!
wait $machine
machine=
