"""The first lines of a child: ``python -P -m worker.executor.child_start <fd>``."""

from __future__ import annotations

import sys

from worker.msgspec_alone import load_msgspec

__all__ = ["main"]


def main() -> int:
    """Be the child at the other end of the descriptor that is named; return the exit status."""
    load_msgspec()
    from worker.executor.child import main as serve  # noqa: PLC0415 - it imports msgspec

    return serve(int(sys.argv[1]))


if __name__ == "__main__":
    sys.exit(main())
