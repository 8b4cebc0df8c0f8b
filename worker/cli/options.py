"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

__all__ = ["limit_of", "limit_options"]

F = TypeVar("F", bound=Callable[..., Any])

LIMIT = 30


def limit_options(function: F) -> F:
    """Give a command `--limit` and `--all`, as `limit` and `everything`."""
    function = click.option(
        "--all", "everything", is_flag=True, help="Everything there is, page by page."
    )(function)  # fmt: skip
    return click.option(
        "--limit", type=click.IntRange(1), default=LIMIT, show_default=True, metavar="N",
        help="At most so many.",
    )(function)  # fmt: skip


def limit_of(limit: int, everything: bool) -> int | None:
    """Return the bound; None for everything."""
    return None if everything else limit
