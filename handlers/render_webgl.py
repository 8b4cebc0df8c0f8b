"""`render-webgl`: draw a GLB or glTF model, in a browser that is kept from run to run."""

from __future__ import annotations

import os
from pathlib import PurePosixPath
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from handlers.webgl.chromium import find_chromium
from handlers.webgl.model import check_format, read_model
from handlers.webgl.options import CONTENT_TYPES, Options, checked, picture_names
from handlers.webgl.studio import Drawn, Opened, Studio
from worker import Context, Fail, SetupContext, Unavailable, handler

__all__ = ["render_webgl"]

try:
    find_chromium(os.environ)
except Fail as exc:  # so that an agent without a browser leaves these tasks to others
    raise Unavailable(f"render-webgl draws in a Chromium: {exc}") from exc


NOT_ON_GPU = "the task was given a GPU, but the browser does not say that it draws on one"


def open_studio(setup: SetupContext) -> Studio:
    """Start the browser and its page, once per process; on a GPU only where the runs were given one."""
    studio = Studio(os.environ, wants_gpu=bool(setup.gpus))
    studio.ready()
    return studio


def close_studio(studio: Studio) -> None:
    """End the browser."""
    studio.close()


@handler("render-webgl", setup=open_studio, teardown=close_studio)
def render_webgl(
    ctx: Context,
    *,
    input: str,  # noqa: A002 - the word of the task
    format: Literal["png", "jpeg", "webp"] = "png",  # noqa: A002 - the same
    width: int = 1024,
    height: int = 1024,
    camera: list[float] | None = None,
    target: list[float] | None = None,
    fov: float = 35.0,
    azimuth: float = 30.0,
    elevation: float = 20.0,
    frames: int = 1,
    frame: int | None = None,
    background: str = "#ffffff",
    light: Literal["room", "direct", "none"] = "room",
    exposure: float = 1.0,
    antialias: bool = True,
    quality: int = 90,
    output: str | None = None,
) -> dict[str, Any]:
    """Draw a GLB or glTF model as a picture, or as the frames of a turntable.

    Args:
        ctx: the run.
        input: a path on the worker, or a URL (file, http, https, s3, gs, az).
        format: png, jpeg or webp.
        width: of the picture in pixels, up to 8192.
        height: the same; width × height is at most 33,554,432.
        camera: where the camera is, [x, y, z]; by default so far away that the model fills the picture.
        target: the point that it looks at; by default the middle of the model.
        fov: how much it sees from top to bottom, 1 to 170 degrees.
        azimuth: where it stands without `camera`: degrees around the model, 0 in front of it (+z).
        elevation: degrees above the model's middle, -90 to 90.
        frames: how many pictures of one turn around the vertical axis, 1 to 1000.
        frame: draw this frame alone, from 1; so that each may be a task of its own.
        background: a colour like #20242c, or transparent.
        light: room (from all around), direct (a lamp at the camera, the sky), or none but the model's own.
        exposure: brightness, 0.01 to 100.
        antialias: smooth edges.
        quality: of jpeg and webp, 1 to 100.
        output: the file's name; by default the input's. A turntable's are numbered: name-0001.png.
    """
    name = name_of(input)
    check_format(name)
    options = Options(
        type=CONTENT_TYPES[format],
        width=width,
        height=height,
        camera=camera,
        target=target,
        fov=fov,
        azimuth=azimuth,
        elevation=elevation,
        background=background,
        light=light,
        exposure=exposure,
        antialias=antialias,
        quality=quality,
    )
    wanted = checked(options, frames, frame)
    names = picture_names(output, name, format, frames, wanted)
    ctx.progress(0.01, f"getting {name}")
    model = read_model(input, name, ctx.input)
    for warning in model.warnings:
        ctx.log(f"{name}: {warning}", level="warning")
    ctx.progress(0.05, f"opening {name}")
    studio: Studio = ctx.state
    opened: Opened | None = None
    pictures: list[Drawn] = []
    size_bytes = 0
    for step in studio.draw(model, options, wanted, frames, ctx.check):
        if isinstance(step, Opened):
            opened = step
            if ctx.gpus and studio.is_software is not False:
                ctx.log(NOT_ON_GPU, level="warning", renderer=studio.renderer)
            ctx.progress(0.1, f"drawing {name}")
            continue
        file = names[len(pictures)]
        (ctx.workdir / file).write_bytes(step.content)
        ctx.artifact(ctx.workdir / file, content_type=options.type)
        size_bytes += len(step.content)
        pictures.append(step._replace(content=b""))
        ctx.progress(0.1 + 0.9 * len(pictures) / len(names), f"frame {len(pictures)} of {len(names)}")
    assert opened is not None
    return {
        "input": name,
        "format": format,
        "width": width,
        "height": height,
        "frames": frames,
        "files": names,
        "bytes": size_bytes,
        "triangles": pictures[-1].triangles,
        "drawCalls": pictures[-1].calls,
        "bounds": opened.bounds,
        "camera": opened.camera,
        "target": opened.target,
        "warnings": model.warnings,
        "renderer": studio.renderer,
        "software": studio.is_software,
        "sandbox": studio.is_sandboxed,
        "browser": studio.version,
    }


def name_of(source: str) -> str:
    """Return the file name of a path or URL, without what may be secret in a query."""
    return PurePosixPath(unquote(urlsplit(source).path) if "://" in source else source).name or source[:60]
