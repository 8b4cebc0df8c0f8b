"""What a bug changes in the code that runs."""

from __future__ import annotations

import hashlib
from typing import Any

__all__ = ["Change", "fresh_id"]

Change = tuple[Any, str, Any]  # of what, which name, and what stands there instead


class Fresh:
    """Ids that nobody else computes; a count, so that a history can be repeated."""

    count = 0


def fresh_id() -> str:
    """Return the next one."""
    Fresh.count += 1
    return hashlib.blake2b(str(Fresh.count).encode(), digest_size=16).hexdigest()
