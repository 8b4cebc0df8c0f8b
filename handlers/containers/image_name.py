"""The full name of an image: pure, so that what is allowed is decided on what the engine will take.

An engine reads ``debian`` as ``docker.io/library/debian:latest``; here it is written out, and only the
written-out form is compared and handed over. Format: the reference grammar of the distribution project.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from worker import Fail

__all__ = ["DEFAULT_REGISTRY", "ImageName", "read_image_name", "with_registry"]

DEFAULT_REGISTRY = "docker.io"
DEFAULT_ALIASES = frozenset({"index.docker.io"})
DEFAULT_TAG = "latest"
MAX_CHARS = 255  # of registry and repository together, as engines have it
REGISTRY = re.compile(r"(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:]+\])(?::\d{1,5})?", re.ASCII)
REPOSITORY_PART = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*", re.ASCII)
TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)


class ImageName(NamedTuple):
    """One image, written out."""

    registry: str  # a host, with its port where one was given
    repository: str
    tag: str | None  # None: it is named by its digest
    digest: str | None

    def __str__(self) -> str:
        """Return the name as engines take it; with a digest the tag counts for nothing, and is left out."""
        end = f":{self.tag}" if self.digest is None else f"@{self.digest}"
        return f"{self.registry}/{self.repository}{end}"


def read_image_name(text: str) -> ImageName:
    """Read an image as people write it.

    Raises:
        Fail: it is no name of an image. An image's bare id is none: nobody could say where it is from.
    """
    name, _, digest = text.partition("@")
    if digest and not DIGEST.fullmatch(digest):
        raise not_a_name(text, "what follows @ must be sha256: and 64 hexadecimal digits")
    name, tag = without_tag(name)
    registry, repository = with_registry(name)
    if not REGISTRY.fullmatch(registry):
        raise not_a_name(text, f"{registry[:60]!r} is no registry")
    if not all(REPOSITORY_PART.fullmatch(part) for part in repository.split("/")):
        raise not_a_name(text, "a repository is of lower-case letters, digits and . _ - between them")
    if len(registry) + 1 + len(repository) > MAX_CHARS:
        raise not_a_name(text, f"it has more than {MAX_CHARS} characters")
    if tag is not None and not TAG.fullmatch(tag):
        raise not_a_name(text, f"{tag[:60]!r} is no tag")
    if digest:
        return ImageName(registry, repository, None, digest)
    return ImageName(registry, repository, tag or DEFAULT_TAG, None)


def without_tag(name: str) -> tuple[str, str | None]:
    """Part a name from its tag; a colon before the last slash is that of a port."""
    head, colon, tag = name.rpartition(":")
    return (head, tag) if colon and "/" not in tag else (name, None)


def with_registry(name: str) -> tuple[str, str]:
    """Return registry and repository of a name without its tag, those that engines take by default."""
    first, slash, rest = name.partition("/")
    is_host = bool(slash) and ("." in first or ":" in first or first.lower() == "localhost")
    registry, repository = (first.lower(), rest) if is_host else (DEFAULT_REGISTRY, name)
    if registry in DEFAULT_ALIASES:
        registry = DEFAULT_REGISTRY
    if registry == DEFAULT_REGISTRY and "/" not in repository:
        repository = f"library/{repository}"
    return registry, repository


def not_a_name(text: str, why: str) -> Fail:
    """Return the error of a text that names no image."""
    return Fail(
        f"image {text[:200]!r} is no name of an image, as registry.example.com/acme/render:1.2: {why}"
    )
