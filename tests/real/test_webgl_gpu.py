"""`render-webgl` where a run was given a GPU: started as for one, with Mesa's software in its place.

No machine with a GPU was at hand. What is real here: Chromium asks EGL for OpenGL as it does for a GPU, draws
by another renderer than its own, falls back to its own where EGL has nothing; and what the result says of it.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from handlers import models
from handlers.render_webgl import NOT_ON_GPU, render_webgl
from handlers.webgl.chromium import SANDBOX
from handlers.webgl.studio import Studio
from tests.real.engine import engine
from tests.real.pixels import blocks, difference, read_png
from tests.real.webgl import GOLDEN, TOLERANCE
from worker.sdk.testing import ToldContext, make_context

GPUS = ("GPU-1",)


@pytest.fixture(scope="module", autouse=True)
def mesa() -> Iterator[None]:
    """Have a browser, and a Mesa that it finds by EGL."""
    with engine("with_mesa.sh", "MILLHAND_CHROMIUM") as program, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MILLHAND_CHROMIUM", program)
        yield


def drawn(
    folder: Path, environment: dict[str, str], *, wants_gpu: bool
) -> tuple[dict[str, Any], ToldContext]:
    """Draw the gear of the demo; give the result, and what the run was told."""
    folder.mkdir()
    studio = Studio(environment, wants_gpu=wants_gpu)
    ctx = make_context(folder, state=studio, gpus=GPUS if wants_gpu else ())
    try:
        result = render_webgl(ctx, input=str(models.folder() / "gear.glb"), width=128, height=128)
    finally:
        studio.close()
    return result, ctx


def warned(ctx: ToldContext) -> list[str]:
    """Return the warnings of a run."""
    return [message for level, message, *_ in ctx.told.logs if level == "warning"]


def test_with_a_gpu_the_machines_own_opengl_draws(tmp_path: Path) -> None:
    """Shut in as ever, the same picture within a tolerance; and Mesa on the processor is called no GPU."""
    result, ctx = drawn(tmp_path / "egl", dict(os.environ), wants_gpu=True)
    assert "llvmpipe" in result["renderer"]
    assert (result["software"], result["sandbox"]) == (True, True)
    assert warned(ctx) == [NOT_ON_GPU]
    assert difference(blocks(read_png(tmp_path / "egl" / "gear.png")), GOLDEN["gear"]) < TOLERANCE
    result, ctx = drawn(tmp_path / "own", dict(os.environ), wants_gpu=False)
    assert "SwiftShader" in result["renderer"]  # where no GPU was given, Mesa is not asked
    assert (result["software"], warned(ctx)) == (True, [])


def test_where_there_is_no_opengl_the_browser_falls_back_and_says_so(tmp_path: Path) -> None:
    """The library is there and has nothing in it, as a driver that does not fit."""
    built = tmp_path / "libEGL.so.1"
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-x", "c", "-o", built, "-"],
        input=b"int nothing;",
        check=True,
        timeout=60,
    )
    environment = {**os.environ, SANDBOX: "off", "LD_LIBRARY_PATH": str(tmp_path), "TMPDIR": str(tmp_path)}
    result, ctx = drawn(tmp_path / "none", environment, wants_gpu=True)
    assert "SwiftShader" in result["renderer"]
    assert (result["software"], warned(ctx)) == (True, [NOT_ON_GPU])
    assert difference(blocks(read_png(tmp_path / "none" / "gear.png")), GOLDEN["gear"]) < TOLERANCE
