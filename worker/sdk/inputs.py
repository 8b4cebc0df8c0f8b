"""Get an input of a handler onto this machine: a path, a file URL, a download, an object of a store.

Imported at the first use of `Context.input`, because urllib costs 40 ms.
"""

from __future__ import annotations

import hashlib
import os
import socket
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Final

from worker.sdk.cache_grant import CacheGrant
from worker.sdk.download import Bounds, Downloaded, download, part_of, reserved
from worker.sdk.errors import Fail
from worker.sdk.input_cache import InputCache, is_digest
from worker.sdk.remote import HttpSource, NotModified, Source, StoreSource, without_secrets
from worker.sdk.telling import InputTold

__all__ = ["fetch_input", "get_input"]

STORE_SCHEMES: Final = frozenset({"s3", "s3a", "gs", "az", "azure", "abfs", "abfss"})
MAX_PATH_CHARS: Final = 200  # of one that cannot be
UNKNOWN: Final = (None, None)


def get_input(
    source: str,
    workdir: Path,
    bounds: tuple[int, str | None, Callable[[], None]],
    told: tuple[Callable[[float, str | None], None], Callable[[], float], tuple[float, float] | None],
    grant: CacheGrant | None,
) -> Path:
    """Return an input for a context, told as its progress; see `Context.input`."""
    max_bytes, sha256, check = bounds
    tell, ratio, span = told
    as_progress = InputTold(tell, ratio, source, span)
    digest = None if sha256 is None else sha256.strip().lower()
    needs_digest = digest is not None or grant is not None
    path = fetch_input(source, workdir, Bounds(max_bytes, digest, check, as_progress, needs_digest), grant)
    as_progress.end()
    return path


def fetch_input(source: str, workdir: Path, bounds: Bounds, grant: CacheGrant | None) -> Path:
    """Return the input as a readable local file.

    Args:
        source: a path or URL.
        workdir: of the run.
        bounds: of its size and content; `check` is called between chunks, to stop early.
        grant: where inputs are kept between runs; None: nowhere.

    Raises:
        Fail: it is missing, not readable, too large, not what its checksum says, or of a kind that
            cannot be fetched here.
        Retry: the place it comes from has a problem that did not pass.
    """
    if bounds.sha256 is not None and not is_digest(bounds.sha256):
        raise Fail(f"sha256 is 64 hex digits, not {bounds.sha256[:100]!r}")
    if "://" not in source:
        return with_checksum(local_file(source), bounds)
    try:
        scheme, shown = urllib.parse.urlsplit(source).scheme.lower(), without_secrets(source)
    except ValueError:  # which quotes the URL, with its password
        raise Fail("the input is no URL that can be fetched: its host or port cannot be read") from None
    if scheme == "file":
        return with_checksum(local_file(source), bounds)
    if scheme not in ("http", "https") and scheme not in STORE_SCHEMES:
        raise Fail(f"input {shown}: {scheme}:// is not known; use a path, file, http(s), s3, gs or az")
    place: Source = HttpSource(source, shown) if scheme in ("http", "https") else StoreSource(source, shown)
    with reserved(workdir / "inputs", source) as path:
        if grant is None:
            fetch_anew(place, path, shown, bounds)
        else:
            fetch_cached(InputCache(grant), source, place, path, shown=shown, bounds=bounds)
    return path


def fetch_cached(
    cache: InputCache, url: str, place: Source, path: Path, *, shown: str, bounds: Bounds
) -> None:
    """Copy the input out of the cache, or download and keep it: one run downloads, all copy at once."""

    def tell_wait() -> None:
        bounds.tell(-1, None)

    digest = bounds.sha256
    if digest is not None and is_copied(cache, digest, path, bounds):
        return
    with cache.turn(bounds.sha256 or url, bounds.check, tell_wait):
        if digest is None or not cache.has(digest):
            known = None if digest is not None else cache.known(url)
            tags = UNKNOWN if known is None else (known.etag, known.modified)
            try:
                cache.keep(url, download(place, path, shown, bounds, tags), path, bounds.check)
            except NotModified:
                digest = None if known is None else known.sha256
            else:
                return
    if digest is not None and is_copied(cache, digest, path, bounds):
        return
    with cache.turn(
        bounds.sha256 or url, bounds.check, tell_wait
    ):  # it is gone meanwhile, too large, or was forged
        cache.keep(url, fetch_anew(place, path, shown, bounds), path, bounds.check)


def fetch_anew(place: Source, path: Path, shown: str, bounds: Bounds) -> Downloaded:
    """Download what no cache has."""
    try:
        return download(place, path, shown, bounds)
    except NotModified:  # which nobody asked
        raise Fail(f"input {shown}: the server answered that nothing changed, unasked") from None


def is_copied(cache: InputCache, sha256: str, path: Path, bounds: Bounds) -> bool:
    """Copy a content out of the cache; tell whether it was there."""
    part = part_of(path)
    size = cache.copy(sha256, part, bounds.max_bytes, bounds.check)
    if size is None:
        return False
    part.rename(path)
    bounds.tell(size, size)
    return True


def local_file(source: str) -> Path:
    """Return a path or file URL as an existing file that can be read."""
    path = Path(
        urllib.request.url2pathname(urllib.parse.urlsplit(source).path) if "://" in source else source
    )
    host = socket.gethostname()
    try:
        is_there = is_anything(path)
    except OSError as exc:  # as of a name that is too long
        raise Fail(
            f"input {str(path)[:MAX_PATH_CHARS]} cannot be looked for on {host}: {exc.strerror}"
        ) from None
    if not is_there:
        raise Fail(f"input {path} does not exist on {host}; the worker needs it at that path, or a URL")
    if not path.is_file():
        raise Fail(f"input {path} on {host} is no regular file")
    if not os.access(path, os.R_OK):
        raise Fail(f"input {path} on {host} may not be read by the user of the worker (uid {os.geteuid()})")
    return path.absolute()


def is_anything(path: Path) -> bool:
    """Tell whether there is something at a path; raise OSError where that cannot be told.

    `Path.exists` says False from Python 3.14 on where it could not look.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a path with a null byte
        return False
    return True


def with_checksum(path: Path, bounds: Bounds) -> Path:
    """Return a local file that has the checksum that was asked for."""
    if bounds.sha256 is None:
        return path
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != bounds.sha256:
        raise Fail(f"input {path} has the SHA-256 {found}, not {bounds.sha256}, which was asked for")
    return path
