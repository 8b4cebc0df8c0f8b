"""What a task may say of its picture, checked before anything is started."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass
from typing import Any, Final

from worker import Fail

__all__ = ["CONTENT_TYPES", "Options", "checked", "picture_names"]

CONTENT_TYPES: Final = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
ENDINGS: Final = {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}
MAX_SIDE: Final = 8192  # pixels; what drawing in software takes
MAX_PIXELS: Final = 32 << 20  # of one picture: 8192 × 4096
MAX_FRAMES: Final = 1000  # what a run may hand over
MAX_ALL_PIXELS: Final = 2 << 30  # of all frames that a task draws; more is several tasks, by `frame`
MAX_COORDINATE: Final = 1e9
COLOR: Final = re.compile(r"#[0-9a-fA-F]{6}")
MAX_NAME_BYTES: Final = 255  # the limit of Linux file systems


@dataclass(frozen=True)
class Options:
    """How a model is drawn; see the parameters of `render-webgl`. The page gets them as they are."""

    type: str  # of the media: image/png, …
    width: int
    height: int
    camera: list[float] | None
    target: list[float] | None
    fov: float
    azimuth: float
    elevation: float
    background: str
    light: str
    exposure: float
    antialias: bool
    quality: int

    def for_page(self) -> dict[str, Any]:
        """Return them for JSON."""
        return asdict(self)


def checked(options: Options, frames: int, frame: int | None) -> range:
    """Return the frames to draw, counted from 0; raise Fail where something is out of its range."""
    for name in ("width", "height"):
        within(name, getattr(options, name), 1, MAX_SIDE)
    pixels = options.width * options.height
    if pixels > MAX_PIXELS:
        raise Fail(f"width × height is {pixels:,} pixels; {MAX_PIXELS:,} are the limit")
    within("frames", frames, 1, MAX_FRAMES)
    if frame is not None:
        within("frame", frame, 1, frames)
    wanted = range(frames) if frame is None else range(frame - 1, frame)
    if pixels * len(wanted) > MAX_ALL_PIXELS:
        raise Fail(
            f"{len(wanted)} frames of {options.width} × {options.height} pixels are more than "
            f"{MAX_ALL_PIXELS:,} pixels; draw fewer, or one a task with frame=1..N"
        )
    within("fov", options.fov, 1, 170)
    within("azimuth", options.azimuth, -360, 360)
    within("elevation", options.elevation, -90, 90)
    within("exposure", options.exposure, 0.01, 100)
    within("quality", options.quality, 1, 100)
    for name in ("camera", "target"):
        check_point(name, getattr(options, name))
    if options.camera is not None and options.camera == options.target:
        raise Fail("camera and target are the same point; the camera must look at something else")
    check_background(options)
    return wanted


def within(name: str, value: float, least: float, most: float) -> None:
    """Raise Fail where a number is out of its range, or none."""
    if not least <= value <= most:
        raise Fail(f"{name} must be from {least:g} to {most:g}, not {value}")


def check_point(name: str, point: list[float] | None) -> None:
    """Raise Fail where a point is none."""
    if point is None:
        return
    if len(point) != 3 or not all(math.isfinite(one) and abs(one) <= MAX_COORDINATE for one in point):
        raise Fail(f"{name} must be three numbers [x, y, z], each within ±{MAX_COORDINATE:g}")


def check_background(options: Options) -> None:
    """Raise Fail where the background is no colour, or the format cannot show it."""
    if options.background == "transparent":
        if options.type == CONTENT_TYPES["jpeg"]:
            raise Fail("JPEG knows no transparency; take png or webp, or a background like #ffffff")
    elif not COLOR.fullmatch(options.background):
        raise Fail(
            f"background must be transparent or a colour like #20242c, not {options.background[:60]!r}"
        )


def picture_names(output: str | None, name: str, format_: str, frames: int, wanted: range) -> list[str]:
    """Return the files' names; those of a turntable are numbered from 0001."""
    ending = ENDINGS[format_]
    stem = name.rpartition(".")[0] or name
    if output is not None:
        stem = output[: -len(ending)] if output.lower().endswith(ending) else output
        if stem in ("", ".", "..") or "/" in stem or "\\" in stem or not stem.isprintable():
            raise Fail(f"output must be a file name, not {output[:60]!r}")
    names = [f"{stem}-{number + 1:04d}{ending}" for number in wanted] if frames > 1 else [f"{stem}{ending}"]
    if (size_bytes := len(names[0].encode(errors="replace"))) > MAX_NAME_BYTES:
        raise Fail(
            f"output must be a file name of at most {MAX_NAME_BYTES} bytes; "
            f"{names[0][:60]!r} has {size_bytes}"
        )
    return names
