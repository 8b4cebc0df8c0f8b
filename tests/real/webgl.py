"""`render-webgl` as tests call it, and how its pictures look."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from handlers import models
from worker.sdk.testing import ToldContext

GOLDEN = json.loads(Path(__file__).with_name("golden.json").read_text())
TOLERANCE = 12.0  # of 255, of a block's mean: builds of Chromium differ in edges and in the last bit
SIZE = {"width": 128, "height": 128}


def render(ctx: ToldContext, model: str | Path = "gear.glb", **parameters: Any) -> dict[str, Any]:
    """Call the handler."""
    from handlers.render_webgl import render_webgl

    source = models.folder() / model if isinstance(model, str) else model
    return render_webgl(ctx, input=str(source), **(SIZE | parameters))
