"""Makes a file in its folder immutable and another append-only, where it may (root on ext4, xfs, …)."""

import contextlib
import fcntl
import struct

from worker import Context, handler

END = {"value": {"value": "made"}, "resists": True, "weight": 0}
FS_IOC_GETFLAGS, FS_IOC_SETFLAGS = 0x80086601, 0x40086602
FS_IMMUTABLE, FS_APPEND = 0x10, 0x20


@handler()
def makes_its_folder_immutable(ctx: Context) -> str:
    """Set the flags."""
    folder = ctx.workdir / "kept"
    folder.mkdir()
    for name, flag in (("file", FS_IMMUTABLE), ("log", FS_APPEND)):
        with (folder / name).open("w") as file, contextlib.suppress(OSError):
            flags = struct.unpack("i", fcntl.ioctl(file, FS_IOC_GETFLAGS, bytes(4)))[0]
            fcntl.ioctl(file, FS_IOC_SETFLAGS, struct.pack("i", flags | flag))
    return "made"
