"""Dies in its teardown, when nobody waits for a result any more."""

import os
from typing import Any

from worker import Context, handler

END = {"value": {"value": "done"}}


def load_model() -> str:
    """Load."""
    return "model"


def unload_model(state: Any) -> None:
    """Die."""
    os.abort()


@handler(setup=load_model, teardown=unload_model)
def crashes_in_teardown(ctx: Context) -> str:
    """Return."""
    return "done"
