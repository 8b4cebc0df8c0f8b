"""msgspec without typing_extensions: a third of a MiB of every process, and a part of its start.

msgspec takes three names from it, of which two are `typing`'s own since Python 3.11, and the third,
`get_type_hints`, does what `typing`'s does when it is asked to leave annotations whole, as msgspec asks.
"""

from __future__ import annotations

import sys

__all__ = ["load_msgspec"]


def load_msgspec() -> None:
    """Import msgspec as if typing_extensions were not installed; whoever imports that afterwards gets it.

    Where one of them is loaded already, nothing is gained, and nothing done.
    """
    if "msgspec" in sys.modules or "typing_extensions" in sys.modules:
        return
    sys.modules["typing_extensions"] = None  # type: ignore[assignment]  # an import says that there is none
    try:
        import msgspec  # noqa: F401, PLC0415 - it is what this is for
    finally:
        del sys.modules["typing_extensions"]
