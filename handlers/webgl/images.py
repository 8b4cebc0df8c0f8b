"""The size of an image from its first bytes, before anybody unpacks it."""

from __future__ import annotations

import struct
from typing import NamedTuple

__all__ = ["KTX2", "ImageSize", "image_size", "unreadable_format"]

# Markers of JPEG that begin a frame and hold its size (ITU T.81, table B.1): all SOFn, but DHT, JPG and DAC.
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


KTX2 = "KTX2"
UNREADABLE = {
    b"\xabKTX 20\xbb\r\n\x1a\n": KTX2,
    b"\xabKTX 11\xbb\r\n\x1a\n": "KTX",
    b"DDS ": "DDS",
    b"GIF8": "GIF",
    b"BM": "BMP",
}
AVIF_BRANDS = (b"avif", b"avis")


class ImageSize(NamedTuple):
    """Width and height in pixels."""

    width: int
    height: int


def image_size(content: bytes | memoryview) -> ImageSize | None:
    """Return the size of a PNG, JPEG or WebP; None where it is none of them, or cut off."""
    head = bytes(content[:32])
    try:
        if head.startswith(b"\x89PNG\r\n\x1a\n"):
            return ImageSize(*struct.unpack_from(">II", head, 16))
        if head.startswith(b"\xff\xd8"):
            return jpeg_size(content)
        if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
            return webp_size(head)
    except (struct.error, IndexError):
        return None
    return None


def unreadable_format(content: bytes | memoryview) -> str | None:
    """Return the name of a format of images that is known, and not read here."""
    head = bytes(content[:16])
    if head[4:8] == b"ftyp" and head[8:12] in AVIF_BRANDS:
        return "AVIF"
    return next((name for magic, name in UNREADABLE.items() if head.startswith(magic)), None)


def jpeg_size(content: bytes | memoryview) -> ImageSize | None:
    """Walk over the segments to the first frame."""
    at = 2
    while content[at] == 0xFF:
        marker = content[at + 1]
        if marker == 0xFF:  # a filler
            at += 1
            continue
        (length,) = struct.unpack_from(">H", content, at + 2)
        if marker in FRAMES:
            height, width = struct.unpack_from(">HH", content, at + 5)
            return ImageSize(width, height)
        at += 2 + max(2, length)
    return None


def webp_size(head: bytes) -> ImageSize | None:
    """Read the first chunk: lossy, lossless or extended (RFC 9649)."""
    kind = head[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", head, 26)
        return ImageSize(width & 0x3FFF, height & 0x3FFF)
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", head, 21)
        return ImageSize((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8X":
        width = int.from_bytes(head[24:27], "little")
        height = int.from_bytes(head[27:30], "little")
        return ImageSize(width + 1, height + 1)
    return None
