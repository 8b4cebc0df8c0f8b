"""What draws, by the name that it gives itself: a GPU, or the processor."""

from __future__ import annotations

from typing import Final

__all__ = ["is_software"]

# Parts of names, in lower case: of Chromium, Mesa (lavapipe calls itself llvmpipe, too), Windows, macOS.
SOFTWARE: Final = (
    *("swiftshader", "llvmpipe", "lavapipe", "softpipe", "swrast", "software rasterizer"),
    *("microsoft basic render", "apple software renderer", "software renderer"),
)


def is_software(renderer: str | None) -> bool | None:
    """Tell whether a renderer is the processor; None where it gives no name: that is no proof of a GPU."""
    if not renderer:
        return None
    name = renderer.lower()
    return any(part in name for part in SOFTWARE)
