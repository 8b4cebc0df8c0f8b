# shellcheck shell=sh
# Sourced by the scripts here, after packages.sh: a root for images of a few megabytes, made without a registry.

# small_root FOLDER: a busybox, linked to by the names that tests use, and nothing of this machine.
small_root() {
    mkdir -p "$1/bin" "$1/etc" "$1/tmp" "$1/unpacked"
    (
        cd "$1/unpacked" || exit 1
        download_package busybox-static
        dpkg-deb -x busybox-static*.deb .
        mv ./*bin/busybox ../bin/ 2>/dev/null || mv usr/bin/busybox ../bin/
    )
    rm -rf "$1/unpacked"
    for name in cat dd echo env head id kill ls mkdir rm seq sh sleep touch true; do
        ln -s busybox "$1/bin/$name"
    done
    chmod 1777 "$1/tmp"
    echo 'root:x:0:0::/:/bin/sh' >"$1/etc/passwd"
}
