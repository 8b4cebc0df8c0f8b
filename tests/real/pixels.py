"""Read PNG pictures, and compare them as eyes do: block by block, with a tolerance."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["blocks", "difference", "read_png"]

CHANNELS = {2: 3, 6: 4}  # by the colour type: RGB, RGBA


def read_png(path: Path) -> Any:
    """Return a picture of 8 bits a channel as an array: height, width, RGB or RGBA."""
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    at, packed, width, height, channels = 8, b"", 0, 0, 0
    while at < len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        body = content[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            width, height, depth, color = struct.unpack_from(">IIBB", body)
            assert depth == 8
            channels = CHANNELS[color]
        elif kind == b"IDAT":
            packed += body
        at += 12 + length
    lines = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(height, 1 + width * channels)
    return unfiltered(lines, channels).reshape(height, width, channels)


def unfiltered(lines: Any, channels: int) -> Any:
    """Undo the filters of PNG, line by line (RFC 2083, 6)."""
    above = [0] * (lines.shape[1] - 1)
    out = np.empty((lines.shape[0], lines.shape[1] - 1), np.uint8)
    for number, line in enumerate(lines.tolist()):
        kind, now = line[0], line[1:]
        for i, value in enumerate(now):
            left = now[i - channels] if i >= channels else 0
            corner = above[i - channels] if i >= channels else 0
            guess = (0, left, above[i], (left + above[i]) // 2, paeth(left, above[i], corner))[kind]
            now[i] = (value + guess) & 0xFF
        out[number] = above = now
    return out


def paeth(left: int, up: int, corner: int) -> int:
    """Return the neighbour nearest to where the three point."""
    guess = left + up - corner
    return min((left, up, corner), key=lambda one: abs(guess - one))


def blocks(picture: Any, count: int = 8) -> Any:
    """Return the mean colour of so many by so many blocks, RGBA."""
    height, width = picture.shape[:2]
    if picture.shape[2] == 3:
        picture = np.dstack([picture, np.full((height, width), 255, np.uint8)])
    size_y, size_x = height // count, width // count
    cut = picture[: size_y * count, : size_x * count].astype(float)
    return cut.reshape(count, size_y, count, size_x, 4).mean(axis=(1, 3))


def difference(one: Any, other: Any) -> float:
    """Return how far apart the blocks of two pictures are at most: 0 to 255."""
    return float(np.abs(np.asarray(one) - np.asarray(other)).max())
