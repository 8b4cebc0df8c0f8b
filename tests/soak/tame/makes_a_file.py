"""Makes a file of a megabyte and hands it over."""

from worker import Context, handler

END = {"value": {"size": 1_000_000}, "files": ["model.stl"], "weight": 15}


@handler()
def makes_a_file(ctx: Context) -> dict[str, int]:
    """Write it."""
    path = ctx.workdir / "model.stl"
    path.write_bytes(bytes(1_000_000))
    ctx.artifact(path)
    return {"size": path.stat().st_size}
