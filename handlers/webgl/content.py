"""The bytes of a model's images, wherever they lie; and how large they unpack."""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from handlers.gltf.container import list_of
from handlers.webgl.images import KTX2, image_size, unreadable_format
from handlers.webgl.weight import MESHOPT
from worker import Fail

__all__ = ["Contents", "check_images"]

MAX_SIDE: Final = 8192  # pixels; what drawing in software takes
MAX_PIXELS: Final = 128 << 20  # of all images: half a gigabyte of memory, and a third more with their mipmaps
MAX_IMAGES: Final = 512
BASIS: Final = "KHR_texture_basisu"  # which three.js passes over where it is not required
GLB_HEADER_BYTES: Final = 12
CHUNK_HEADER_BYTES: Final = 8


class Contents:
    """The content of a model's buffers and images."""

    def __init__(self, description: dict[str, Any], glb: bytes | None, beside: Mapping[str, Path]) -> None:
        """Take the description, the whole file where it is a GLB, and the files that the model names."""
        self._description = description
        self._beside = beside
        self._glb = memoryview(glb) if glb is not None else None
        self._buffers: dict[int, memoryview] = {}

    def of_image(self, image: dict[str, Any]) -> bytes | memoryview | None:
        """Return an image's bytes; None where it has none, or they lie outside of their buffer."""
        uri = image.get("uri")
        if isinstance(uri, str) and "bufferView" not in image:  # which three.js prefers where there are both
            return self._of_uri(uri)
        if (view := self._view_of(image)) is None:
            return None
        start, length = view.get("byteOffset", 0), view.get("byteLength")
        buffer = self._buffer(view.get("buffer"))
        if (
            buffer is None
            or not isinstance(start, int)
            or not isinstance(length, int)
            or min(start, length) < 0
        ):
            return None
        return bytes(buffer[start : start + length])

    def compression_of(self, image: dict[str, Any]) -> str | None:
        """Return the extension by which the part of a buffer that an image lies in is compressed."""
        extensions = (self._view_of(image) or {}).get("extensions")
        return next((one for one in MESHOPT if isinstance(extensions, dict) and one in extensions), None)

    def _view_of(self, image: dict[str, Any]) -> dict[str, Any] | None:
        number, views = image.get("bufferView"), self._description.get("bufferViews")
        if not isinstance(number, int) or not isinstance(views, list) or not 0 <= number < len(views):
            return None
        return views[number] if isinstance(views[number], dict) else {}

    def _buffer(self, number: Any) -> memoryview | None:
        buffers = self._description.get("buffers")
        if not isinstance(number, int) or not isinstance(buffers, list) or not 0 <= number < len(buffers):
            return None
        if number not in self._buffers:
            uri = buffers[number].get("uri") if isinstance(buffers[number], dict) else None
            content = self._of_uri(uri) if isinstance(uri, str) else self._binary()
            if content is None:
                return None
            self._buffers[number] = memoryview(content)
        return self._buffers[number]

    def _binary(self) -> memoryview | None:
        """Return what follows the description of a GLB."""
        if self._glb is None:
            return None
        description_bytes = int.from_bytes(self._glb[GLB_HEADER_BYTES : GLB_HEADER_BYTES + 4], "little")
        return self._glb[GLB_HEADER_BYTES + 2 * CHUNK_HEADER_BYTES + description_bytes :]

    def _of_uri(self, uri: str) -> bytes | None:
        if not uri.startswith("data:"):
            return self._beside[uri].read_bytes()
        head, _, text = uri.partition(",")
        try:
            return b64decode(text) if head.endswith(";base64") else unquote_to_bytes(text)
        except (binascii.Error, ValueError):
            return None


def shown_images(description: dict[str, Any]) -> set[int]:
    """Return the numbers of the images that are shown: not those in KTX2 that stand beside another one."""
    shown = set()
    for texture in list_of(description, "textures"):
        extensions = texture.get("extensions")
        others = extensions if isinstance(extensions, dict) else {}
        passed_over = BASIS if "source" in texture else None
        sources = [
            texture,
            *(one for key, one in others.items() if key != passed_over and isinstance(one, dict)),
        ]
        shown |= {number for one in sources if isinstance(number := one.get("source"), int)}
    return shown


def check_images(description: dict[str, Any], contents: Contents, name: str) -> None:
    """Raise Fail where an image cannot be read, or unpacks to more than the limits allow."""
    images = list_of(description, "images")
    if len(images) > MAX_IMAGES:
        raise Fail(f"{name} has {len(images):,} images; {MAX_IMAGES} are the limit")
    pixels, shown = 0, shown_images(description)
    for number, image in enumerate(images):
        if (extension := contents.compression_of(image)) is not None:
            # It would be measured by other bytes than those that are shown.
            raise Fail(f"{name}: its image {number} is compressed with {extension}; export it without")
        content = contents.of_image(image)
        size = None if content is None else image_size(content)
        if size is None and content is not None and (format_ := unreadable_format(content)) is not None:
            if format_ == KTX2 and number not in shown:
                continue  # nobody looks at it
            raise Fail(
                f"{name}: its image {number} is {format_}, and no PNG, JPEG or WebP; "
                "export it as one of these"
            )
        if size is None:
            raise Fail(f"{name} is damaged: its image {number} is no PNG, JPEG or WebP that can be read")
        if max(size) > MAX_SIDE:
            side = f"{size.width} × {size.height} pixels"
            raise Fail(f"{name}: its image {number} has {side}; {MAX_SIDE} a side are the limit")
        pixels += size.width * size.height
    if pixels > MAX_PIXELS:
        raise Fail(f"{name}: its images have {pixels:,} pixels together; {MAX_PIXELS:,} are the limit")
