"""`mesh-convert`: turn a file of meshes into STL, PLY, OBJ or GLB, and measure it."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from handlers.meshes.joining import joined, resized, welded
from handlers.meshes.reading import check_format, read_model
from handlers.meshes.statistics import measure
from handlers.meshes.writing import CONTENT_TYPES, OUTPUTS, output_name, write_model
from worker import Context, Fail, handler

__all__ = ["mesh_convert"]

MAX_SCALE = 1e9  # times the largest coordinate that is read, still a number of single precision


@handler("mesh-convert")
def mesh_convert(
    ctx: Context,
    *,
    input: str,  # noqa: A002 - the word of the task
    format: Literal["stl", "ply", "obj", "glb"] = "stl",  # noqa: A002 - the same
    scale: float = 1.0,
    merge: bool = False,
    output: str | None = None,
) -> dict[str, Any]:
    """Convert a GLB, glTF, OBJ, STL or PLY file, with the transforms of its nodes applied.

    Args:
        ctx: the run.
        input: a path on the worker, or a URL (file, http, https, s3, gs, az).
        format: stl, ply, obj or glb.
        scale: a factor for all lengths, from 1e-9 to 1e9; 1000 turns metres into millimetres.
        merge: join all meshes to one, and make points at the same place one.
        output: the file's name; by default the input's, with another ending.
    """
    name = name_of(input)
    check_format(name)
    target = checked_output(output, name, format, scale)
    ctx.progress(0.02, f"getting {name}")
    path = ctx.input(input)
    step(ctx, 0.1, f"reading {name}")
    scene, warnings = read_model(path, name)
    step(ctx, 0.45, "placing the meshes")
    scene = resized(scene, scale)
    mesh = welded(joined(scene)) if merge else joined(scene)
    step(ctx, 0.55, "measuring")
    statistics = measure(mesh)
    step(ctx, 0.75, f"writing {target}")
    written = write_model(mesh.scene() if merge else scene, format, target, ctx.workdir)
    step(ctx, 0.98, "handing over")
    for file in written:
        ctx.artifact(file, content_type=CONTENT_TYPES[format] if file.name == target else None)
    for warning in warnings:
        ctx.log(f"{name}: {warning}", level="warning")
    ctx.progress(1.0, f"{statistics['faces']:,} triangles")
    said = {"input": name, "format": format, "output": target, "bytes": written[0].stat().st_size}
    return said | {"files": [file.name for file in written], "warnings": warnings} | statistics


def step(ctx: Context, ratio: float, message: str) -> None:
    """Tell the next step, unless the run is asked to stop: steps themselves cannot be interrupted."""
    ctx.check()
    ctx.progress(ratio, message)


def name_of(source: str) -> str:
    """Return the file name of a path or URL, without what may be secret in a query."""
    return PurePosixPath(unquote(urlsplit(source).path) if "://" in source else source).name or source[:60]


def checked_output(output: str | None, name: str, format_: str, scale: float) -> str:
    """Return the output's name; raise Fail where a parameter is out of its range."""
    if format_ not in OUTPUTS:
        raise Fail(f"format {format_!r} is not known; allowed are {', '.join(OUTPUTS)}")
    if not 1 / MAX_SCALE <= scale <= MAX_SCALE:
        raise Fail(f"scale must be a number from {1 / MAX_SCALE:g} to {MAX_SCALE:g}, not {scale}")
    return output_name(output, name, format_)
