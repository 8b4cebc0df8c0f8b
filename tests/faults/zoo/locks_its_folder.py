"""Takes every right from its folders, below and above the files that are in them."""

from worker import Context, handler

END = {"value": {"value": "locked"}}


@handler()
def locks_its_folder(ctx: Context) -> str:
    """Leave folders that nobody may enter."""
    inner = ctx.workdir / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "file").write_text("x")
    (inner / "file").chmod(0)
    inner.chmod(0)
    inner.parent.chmod(0)
    ctx.workdir.chmod(0)
    return "locked"
