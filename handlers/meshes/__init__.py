"""What the mesh handlers are made of: check, read, measure and write meshes. Needs the extra `mesh`."""

from __future__ import annotations

from worker import Unavailable

try:
    import numpy  # noqa: F401, ICN001 - only whether it is there
    import trimesh  # noqa: F401 - the same
except ImportError as exc:
    raise Unavailable(
        f"mesh handlers need trimesh and numpy ({exc}); install them with: pip install 'millhand[mesh]'"
    ) from exc
