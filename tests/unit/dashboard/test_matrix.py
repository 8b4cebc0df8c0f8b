"""The picture of a job's tasks."""

from __future__ import annotations

import struct
import zlib

import pytest

from server.dashboard.matrix import HEIGHTS, MOST_CELLS, NARROW, SHAPES, WIDE, layout_of, png


def pixels(picture: bytes) -> tuple[int, int, bytes]:
    """Read a picture as a viewer would: width, height, palette indexes; every checksum must hold."""
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    at, size, content = 8, (0, 0), b""
    while at < len(picture):
        (length,) = struct.unpack_from(">I", picture, at)
        kind, body = picture[at + 4 : at + 8], picture[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", picture, at + 8 + length)[0] == zlib.crc32(kind + body)
        if kind == b"IHDR":
            size = struct.unpack_from(">II", body)
        elif kind == b"IDAT":
            content += body
        at += 12 + length
    raw = zlib.decompress(content)
    width, height = size
    assert len(raw) == height * (width + 1)
    lines = [raw[line * (width + 1) : (line + 1) * (width + 1)] for line in range(height)]
    assert all(line[0] == 0 for line in lines)
    return width, height, b"".join(line[1:] for line in lines)


def cell(picture: bytes, index: int, count: int, wide: int = WIDE) -> set[int]:
    """Return the colours that one cell has."""
    width, _, all_pixels = pixels(picture)
    layout = layout_of(count, wide)
    row, column = divmod(index, layout.columns)
    found: set[int] = set()
    for line in range(row * layout.side, (row + 1) * layout.side):
        start = line * width + column * layout.side
        found |= set(all_pixels[start : start + layout.side])
    return found - {0}


@pytest.mark.parametrize("wide", [WIDE, NARROW])
@pytest.mark.parametrize("count", [1, 5, 2_000, 6_601, 30_000, 70_000, 120_000])
def test_each_task_has_a_cell_of_its_state(count: int, wide: int) -> None:
    """Also the last one, in a line that is not full."""
    states = ("psrf" * count)[:count]
    picture = png(states, wide)
    layout = layout_of(count, wide)
    assert pixels(picture)[:2] == (layout.width, layout.height)
    for index in {0, count // 2, count - 1}:
        assert cell(picture, index, count, wide) == {" prsf".index(states[index])}
    if layout.columns * layout.rows > count:
        assert cell(picture, count, count, wide) == set()


def test_more_tasks_than_a_picture_has_are_cut() -> None:
    """The first of them are drawn."""
    count = MOST_CELLS + 1_000
    picture = png("p" * MOST_CELLS + "f" * 1_000)
    assert pixels(picture)[1] == layout_of(count).height
    assert cell(picture, MOST_CELLS - 1, count) == {1}


@pytest.mark.parametrize(("wide", "screen"), [(WIDE, 1280 - 32), (NARROW, 390 - 32)])
def test_a_hundred_thousand_tasks_are_seen_at_a_glance(wide: int, screen: int) -> None:
    """On a screen at once, on a phone in little more than one; cells are as large as that allows."""
    layout = layout_of(100_000, wide)
    assert layout.width <= screen
    assert layout.height <= 1.2 * HEIGHTS[wide]
    assert layout_of(100, wide).side == 12


def test_states_are_told_apart_without_colours() -> None:
    """By shape, at every size."""
    for count in (4, 8_000, 30_000, 100_000, 200_000):
        _, _, drawn = pixels(png(("psrf" * count)[:count]))
        side = layout_of(count).side
        width = layout_of(count).columns * side
        shapes = {
            tuple(
                bool(drawn[line * width + index * side + column])
                for line in range(side)
                for column in range(side)
            )
            for index in range(4)
        }
        assert len(shapes) == len(SHAPES)


@pytest.mark.parametrize("count", [1, 1_999, 2_001, 100_000, 10**7])
def test_a_click_finds_the_task_of_its_cell(count: int) -> None:
    """From the picture's size alone."""
    layout = layout_of(count)
    shown = min(count, MOST_CELLS)
    for index in (0, shown // 3, shown - 1):
        row, column = divmod(index, layout.columns)
        assert layout.index_at(column * layout.side + layout.side - 1, row * layout.side) == index
    assert layout.index_at(10**6, 0) == layout.columns - 1
    assert layout.rows * layout.columns >= shown


def test_no_task_is_a_picture_too() -> None:
    """A job may have lost its last task between page and picture."""
    assert pixels(png(""))[0] > 0
