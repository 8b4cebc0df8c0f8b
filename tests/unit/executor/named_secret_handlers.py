"""Handlers that ask for secrets by name."""

from __future__ import annotations

import os
from typing import Any

from worker import Context, SetupContext, handler


def load(setup: SetupContext) -> str:
    """Take a secret while the process begins."""
    print(f"loading with {setup.secrets['HF_TOKEN']}")  # noqa: T201 - what must not be seen
    return setup.secrets["HF_TOKEN"]


@handler("named", secrets=("HF_TOKEN", "OTHER"), setup=load)
def named(ctx: Context) -> dict[str, Any]:
    """Show a secret in every way, and say what it is without showing it."""
    token = ctx.secrets["HF_TOKEN"]
    print(f"here it is: {token}")  # noqa: T201 - what must not be seen
    ctx.log(f"and here: {token}")
    ctx.progress(0.5, f"and here: {token}")
    return {
        "leak": token,
        "length": len(token),
        "at_setup": len(ctx.state),
        "names": sorted(ctx.secrets),
        "in_environment": token in str(dict(os.environ)),
        "shown": repr(ctx.secrets),
    }


@handler("nosy")
def nosy(ctx: Context) -> str:
    """Ask for what it did not name."""
    return ctx.secrets["HF_TOKEN"]
