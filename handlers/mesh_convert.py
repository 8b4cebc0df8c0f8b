"""`mesh-convert`: turn a file of meshes into another format, unit or number of triangles; measure it."""

from __future__ import annotations

import gc
from pathlib import PurePosixPath
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from handlers.meshes.bounds import Bounds
from handlers.meshes.decimation import decimated, share_of
from handlers.meshes.joining import joined, merged
from handlers.meshes.placing import placed, turn_of
from handlers.meshes.reading import check_format, read_model
from handlers.meshes.statistics import measure
from handlers.meshes.threemf_writing import drop_flat
from handlers.meshes.units import Unit, check_size, planned_units
from handlers.meshes.writing import CONTENT_TYPES, OUTPUTS, output_name, write_model
from worker import Context, Fail, handler

__all__ = ["mesh_convert"]

MAX_SCALE = 1e9  # times the largest coordinate that is read, still a number of single precision

Format = Literal["stl", "stl-ascii", "ply", "obj", "off", "glb", "gltf", "3mf"]


@handler("mesh-convert")
def mesh_convert(
    ctx: Context,
    *,
    input: str,  # noqa: A002 - the word of the task
    format: Format = "stl",  # noqa: A002 - the same
    scale: float = 1.0,
    merge: bool = False,
    output: str | None = None,
    units_in: Unit | None = None,
    units_out: Unit | None = None,
    up_in: Literal["y", "z"] | None = None,
    up: Literal["y", "z"] | None = None,
    centre: bool = False,
    triangles: int | None = None,
    ratio: float | None = None,
    max_triangles: int = 10_000_000,
    max_bytes: int = 2 * 1024**3,
) -> dict[str, Any]:
    """Convert a GLB, glTF, OBJ, STL, PLY, OFF or 3MF file, with the transforms of its nodes applied.

    Args:
        ctx: the run.
        input: a path on the worker, or a URL (file, http, https, s3, gs, az).
        format: stl, stl-ascii, ply, obj, off, glb, gltf or 3mf.
        scale: a factor for all lengths, from 1e-9 to 1e9, beside the one of the units.
        merge: join all meshes to one, and make points at the same place one.
        output: the file's name; by default the input's, with another ending.
        units_in: the unit of the input: mm, cm, m, in or ft; by default what the file says.
        units_out: the unit of the output; lengths are converted.
        up_in: which axis is up in the input: y or z; by default what the format says.
        up: which axis shall be up in the output.
        centre: move the middle of the bounds to the origin.
        triangles: reduce the meshes to about so many triangles together.
        ratio: reduce every mesh to this share of its triangles.
        max_triangles: fail if the input has more.
        max_bytes: fail if the input, unpacked, or the output has more.
    """
    name = name_of(input)
    kind = check_format(name)
    target = checked_output(output, name, format, scale)
    bounds = Bounds(
        at_least_one("max_triangles", max_triangles), at_least_one("max_bytes", max_bytes), ctx.check
    )
    share_of(1, triangles, ratio)  # refused before anything is fetched
    turn = turn_of(name, kind, up_in, up)
    ctx.progress(0.02, f"getting {name}")
    path = ctx.input(input, max_bytes=max_bytes)
    step(ctx, 0.1, f"reading {name}")
    model = read_model(path, name, bounds)
    units = planned_units(name, model.unit, format, units_in, units_out)
    step(ctx, 0.4, "placing the meshes")
    scene = placed(model.scene, scale * units.factor, turn, is_centred=centre)
    warnings = model.warnings
    if (share := share_of(model.triangles, triangles, ratio)) < 1:
        step(ctx, 0.45, f"reducing {model.triangles:,} triangles")
        scene, lost = decimated(scene, share, ctx.check)
        warnings = warnings + lost
    step(ctx, 0.5, "joining the meshes")
    scene = merged(scene) if merge else scene
    if format == "3mf":
        warnings = warnings + drop_flat(scene, name)
    step(ctx, 0.55, "measuring")
    statistics = measure(joined(scene))
    step(ctx, 0.75, f"writing {target}")
    written = write_model(scene, format, target, folder=ctx.workdir, unit=units.target, max_bytes=max_bytes)
    step(ctx, 0.98, "handing over")
    for file in written:
        ctx.artifact(file, content_type=CONTENT_TYPES[format] if file.name == target else None)
    warnings = [*warnings, *units.warnings, *check_size(max(statistics["extents"]), units.target)]
    for warning in warnings:
        ctx.log(f"{name}: {warning}", level="warning")
    for note in units.notes:
        ctx.log(f"{name}: {note}")
    ctx.progress(1.0, f"{statistics['faces']:,} triangles")
    said = {"input": name, "format": format, "output": target, "bytes": written[0].stat().st_size}
    said |= {"files": [file.name for file in written], "warnings": [*warnings, *units.notes]}
    said |= {"unitsIn": units.source, "unitsOut": units.target, "facesIn": model.triangles}
    del model, scene
    gc.collect()  # meshes and scenes hold each other: they would stay for a while, whatever their size
    return said | statistics


def at_least_one(name: str, value: int) -> int:
    """Return a limit; raise Fail where it allows nothing."""
    if value < 1:
        raise Fail(f"{name} must be 1 or more, not {value}")
    return value


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
