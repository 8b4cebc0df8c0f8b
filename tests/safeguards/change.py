"""What stands in place of something in code that runs."""

from __future__ import annotations

from typing import Any

__all__ = ["Change"]


Change = tuple[Any, str, Any]  # of what, which name, and what stands there instead
