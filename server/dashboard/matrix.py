"""All tasks of a job at a glance: a picture with a cell for each, told apart by colour and by shape.

A picture needs no script, 10⁵ cells take some ten kilobytes, and a browser tells where it was clicked.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

from msgspec import Struct

__all__ = ["MOST_CELLS", "Layout", "layout_of", "png"]

MOST_CELLS: Final = 250_000  # a higher picture than that nobody looks at
WIDTH: Final = 1200
CELLS: Final = ((2_000, 12), (20_000, 8), (MOST_CELLS, 4))  # up to so many tasks -> pixels of a cell's side

# What the store says of a task, in one letter -> its shape on a grid of four by four.
SHAPES: Final = {
    "p": ("....", ".11.", ".11.", "...."),  # pending: a dot
    "r": ("22..", "222.", "222.", "22.."),  # running: a wedge
    "s": ("333.", "333.", "333.", "...."),  # succeeded: a square
    "f": ("4..4", ".44.", ".44.", "4..4"),  # failed: a cross
}
# Of a picture that lies on a light or on a dark page: the first is clear.
PALETTE: Final = bytes.fromhex("000000 6e7781 0969da 1a7f37 cf222e")
CLEAR: Final = b"\x00\xff\xff\xff\xff"


class Layout(Struct, frozen=True):
    """How many cells stand side by side, and how large they are."""

    columns: int
    side: int  # pixels
    rows: int

    def index_at(self, x: int, y: int) -> int:
        """Return which cell lies at a place of the picture."""
        return max(0, y) // self.side * self.columns + min(max(0, x) // self.side, self.columns - 1)


def layout_of(count: int) -> Layout:
    """Return how so many tasks are laid out; few are large, many are small."""
    side = next((side for most, side in CELLS if count <= most), CELLS[-1][1])
    columns = WIDTH // side
    shown = min(count, MOST_CELLS)
    return Layout(columns, side, max(1, -(-shown // columns)))


def png(states: str) -> bytes:
    """Draw tasks, one letter each, in lines from left to right."""
    layout = layout_of(len(states))
    lines = []
    for row in range(layout.rows):
        letters = states[row * layout.columns : (row + 1) * layout.columns]
        missing = layout.columns - len(letters)
        for line in range(layout.side):
            pixels = {letter: pixels_of(shape, line, layout.side) for letter, shape in SHAPES.items()}
            lines.append(
                b"\0" + b"".join([pixels[letter] for letter in letters]) + bytes(missing * layout.side)
            )
    size = struct.pack(">IIBBBBB", layout.columns * layout.side, layout.rows * layout.side, 8, 3, 0, 0, 0)
    parts = (
        (b"IHDR", size),
        (b"PLTE", PALETTE),
        (b"tRNS", CLEAR),
        (b"IDAT", zlib.compress(b"".join(lines), 6)),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in (*parts, (b"IEND", b"")))


def pixels_of(shape: tuple[str, ...], line: int, side: int) -> bytes:
    """Return one line of pixels of a shape that is drawn with a gap beside it, so that cells stand apart."""
    inner = side - side // 6
    if line >= inner and side > len(shape):
        return bytes(side)
    row = shape[min(line * len(shape) // inner, len(shape) - 1)]
    drawn = (row[min(column * len(row) // inner, len(row) - 1)] for column in range(inner))
    return bytes(0 if one == "." else int(one) for one in drawn) + bytes(side - inner)


def chunk(kind: bytes, content: bytes) -> bytes:
    """Return a chunk of a PNG file."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
