"""Fills its folder with many files, some of them large."""

from worker import Context, handler

END = {"value": {"value": 501}, "weight": 1}


@handler()
def fills_its_folder(ctx: Context) -> int:
    """Write five hundred small files and a large one."""
    for number in range(500):
        (ctx.workdir / f"{number}").touch()
    (ctx.workdir / "large").write_bytes(bytes(20_000_000))
    return sum(1 for _ in ctx.workdir.iterdir())
