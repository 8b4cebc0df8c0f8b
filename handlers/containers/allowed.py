"""Which images a task may run: those that the operator of the machine allows, and no others. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from handlers.containers.image_name import ImageName, with_registry, without_tag
from worker import Fail

__all__ = ["VARIABLE", "Pattern", "allowed_images", "check_allowed", "read_pattern"]

VARIABLE = "MILLHAND_IMAGES"


class Pattern(NamedTuple):
    """One entry of the list, written out as images are."""

    text: str  # as the operator wrote it
    registry: str
    repository: str
    tag: str | None  # None: any
    digest: str | None  # None: any

    def allows(self, image: ImageName) -> bool:
        """Tell whether an image is meant."""
        return (
            is_like(self.registry, image.registry)
            and is_like(self.repository, image.repository)
            and (self.digest is None or self.digest == image.digest)
            and (self.tag is None or (image.tag is not None and is_like(self.tag, image.tag)))
        )


def check_allowed(image: ImageName, environment: Mapping[str, str]) -> None:
    """Raise Fail where the image is not allowed on this machine; the message says what to do."""
    patterns = allowed_images(environment)
    if not any(pattern.allows(image) for pattern in patterns):
        raise Fail(
            f"image {image} is not allowed on this machine "
            f"(allowed: {', '.join(pattern.text for pattern in patterns) or 'none'}); its operator allows an "
            f"image by adding it, or a pattern as registry.test/acme/*, to {VARIABLE}, separated by commas"
        )


def allowed_images(environment: Mapping[str, str]) -> list[Pattern]:
    """Return the allow-list."""
    entries = (entry.strip() for entry in environment.get(VARIABLE, "").split(","))
    return [read_pattern(entry) for entry in entries if entry]


def read_pattern(entry: str) -> Pattern:
    """Read an entry as images are read: ``debian`` is ``docker.io/library/debian``.

    ``*`` stands for anything within a part, and as the last part for everything below. An entry that is
    only ``*`` allows every image. With a tag, only images named by such a tag are meant; with a
    digest only that image.
    """
    name, _, digest = entry.partition("@")
    name, tag = without_tag(name)
    if name == "*":
        return Pattern(entry, "**", "**", tag, digest or None)
    registry, repository = with_registry(name)
    if name.endswith("/*") and name.count("/") == 1 and repository == "library/*":
        repository = "*"  # all of docker.io/*, not only what is official there
    if repository == "*" or repository.endswith("/*"):
        repository = f"{repository[:-1]}**"
    return Pattern(entry, registry, repository, tag, digest or None)


def is_like(pattern: str, text: str) -> bool:
    """Tell whether a text fits: ``**`` is anything, ``*`` anything but a slash, the rest itself."""
    parts = (re.escape(part) for part in re.split(r"(\*\*|\*)", pattern))
    expression = "".join({r"\*\*": ".+", r"\*": "[^/]*"}.get(part, part) for part in parts)
    return re.fullmatch(expression, text, re.DOTALL) is not None
