"""The files that a run tells of: which a browser can be led to, and what it shall do with them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

from msgspec import Struct

from server.dashboard.shapes import list_of, number_of, text_of
from worker.cli import human

__all__ = ["File", "Stored", "disposition", "files_of", "media_type_of"]

PICTURES: Final = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif"})
TEXT: Final = "text/plain; charset=utf-8"
TEXTS: Final = (".csv", ".json", ".jsonl", ".log", ".md", ".txt", ".xml", ".yaml", ".yml")
OUTPUTS: Final = ("stdout", "stderr")
SHOWN_TEXT_BYTES: Final = 1024 * 1024  # a larger text is handed out to be kept
ANYTHING: Final = "application/octet-stream"
PLAIN_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,100}")  # of a run whose folder bears its name
SHA256: Final = re.compile(r"[0-9a-f]{64}")
MOST_PARTS: Final = 33  # of a name; agents allow 32
UNSAFE: Final = re.compile(r'[^ -~]|["\\%]')  # in the part of a header that old browsers read
KEPT: Final = "!#$&+-.^_`|~"  # RFC 5987, attr-char


class Stored(Struct, frozen=True):
    """A file in a folder, as its run tells of it."""

    parts: tuple[str, ...]  # below the store: the run's folder, then the name
    size_bytes: int
    sha256: str
    media_type: str  # what a browser shall take it for


class File(Struct, frozen=True):
    """A file of a run."""

    index: int  # in `results.files`
    name: str
    url: str | None  # where a browser can get it, on the web
    stored: Stored | None  # of one in a folder that these pages can serve
    place: str
    size: str
    is_picture: bool


def files_of(run_id: str, results: Mapping[str, Any], *, serves_files: bool) -> list[File]:
    """Return a run's files; those that are told in another shape are left out.

    Args:
        run_id: the run.
        results: what it tells.
        serves_files: whether there is a folder from which files are served.
    """
    return [
        file_of(run_id, index, given, serves_files=serves_files)
        for index, given in enumerate(list_of(results.get("files")))
        if isinstance(given, dict) and isinstance(given.get("name"), str)
    ]


def file_of(run_id: str, index: int, given: Mapping[str, Any], *, serves_files: bool) -> File:
    """Return one file."""
    place = text_of(given.get("url")) or ""
    is_web = scheme_of(place) in ("http", "https")
    stored = stored_of(run_id, given, place) if serves_files else None
    return File(
        index=index,
        name=given["name"],
        url=place if is_web else None,
        stored=stored,
        place=place,
        size=human.size(number_of(given.get("size", given.get("bytes")))),
        is_picture=(is_web or stored is not None) and text_of(given.get("contentType")) in PICTURES,
    )


def stored_of(run_id: str, given: Mapping[str, Any], place: str) -> Stored | None:
    """Return what is told of a file in the run's own folder of a store; None of any other.

    A report may name any path. Of it counts only whether it ends with the run's folder and the file's name:
    where the store lies is the server's setting.
    """
    name, size, sha256 = given["name"], given.get("size"), text_of(given.get("sha256")) or ""
    parts = tuple(name.split("/"))
    is_safe = not {"", ".", ".."}.intersection(parts) and len(parts) <= MOST_PARTS and "\0" not in name
    if not is_safe or not PLAIN_ID.fullmatch(run_id):
        return None
    if not isinstance(size, int) or not SHA256.fullmatch(sha256):
        return None
    if scheme_of(place) != "file" or not unquote(urlsplit(place).path).endswith(f"/{run_id}/{name}"):
        return None
    return Stored((run_id, *parts), size, sha256, media_type_of(name, given.get("contentType"), size))


def media_type_of(name: str, told: object, size_bytes: int) -> str:
    """Return what a browser shall take a file for: a picture, a text, or anything, which it keeps unread."""
    if isinstance(told, str) and told in PICTURES:
        return told
    is_text = name in OUTPUTS or name.lower().endswith(TEXTS) or (text_of(told) or "").startswith("text/")
    return TEXT if is_text and size_bytes <= SHOWN_TEXT_BYTES else ANYTHING


def disposition(name: str, media_type: str) -> str:
    """Return the header that says what to do with a file, and its name in both forms (RFC 6266)."""
    kind = "attachment" if media_type == ANYTHING else "inline"
    last = name.rpartition("/")[2]
    encoded = quote(last, safe=KEPT, errors="replace")
    return f"{kind}; filename=\"{UNSAFE.sub('_', last)}\"; filename*=UTF-8''{encoded}"


def scheme_of(place: str) -> str:
    """Return the scheme of an address; of what is none, nothing."""
    try:
        return urlsplit(place).scheme
    except ValueError:
        return ""
