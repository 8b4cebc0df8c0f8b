"""Bring files to where workers read them: where they lie, or the artifact store."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any
from urllib.parse import urlsplit

from worker.cli.exits import CliError, ExitCode
from worker.cli.local import is_loopback

__all__ = ["check_file", "is_file_here", "is_url", "place_inputs", "place_relative"]

UPLOADS = 4  # at once
CHUNK_BYTES = 1024 * 1024
STORE_SCHEMES = frozenset({"s3", "s3a", "gs", "az", "azure", "abfs", "abfss"})


def place_inputs(sources: Sequence[str], api_url: str, store: str | None) -> list[str]:
    """Return a URL for each source that a worker can read.

    URLs stay as they are. A file stays where it is when the API is on this very host; otherwise it
    is copied to the store, under a name by its content, so that a repeated submit names it alike.

    Raises: CliError where a file is missing, or no worker could read it.
    """
    files = [check_file(source) for source in sources if not is_url(source)]
    is_here = is_loopback(api_url)
    if files and not is_here and store is None:
        raise no_store(files[0], api_url)

    def place(source: str) -> str:
        if is_url(source):
            return source
        path = Path(source).absolute()
        return path.as_uri() if is_here or store is None else put(path, store)

    with ThreadPoolExecutor(UPLOADS) as pool:
        return list(pool.map(place, sources))


def is_url(source: str) -> bool:
    """Tell whether a source is a URL rather than a path."""
    return "://" in source


def is_file_here(source: str) -> bool:
    """Tell whether a text is the path of a file on this machine."""
    try:
        return not is_url(source) and Path(source).is_file()
    except (OSError, ValueError):  # a text that no path can be
        return False


def place_relative(sets: Sequence[dict[str, Any]], api_url: str, store: str | None) -> list[dict[str, Any]]:
    """Return sets of parameters in which an `input` that is a file below this folder is placed too.

    A relative path means nothing to a worker. An absolute one stays: it may be the same everywhere.

    Raises: CliError where no worker could read it.
    """
    given = [one.get("input") for one in sets]
    here = list(dict.fromkeys(
        path for path in given
        if isinstance(path, str) and not Path(path).is_absolute() and is_file_here(path)
    ))  # fmt: skip
    urls = dict(zip(here, place_inputs(here, api_url, store), strict=True))
    return [
        {**one, "input": urls[path]} if isinstance(path, str) and path in urls else one
        for one, path in zip(sets, given, strict=True)
    ]


def check_file(source: str) -> Path:
    """Return a readable file.

    Raises: CliError where it is none.
    """
    path = Path(source)
    if not path.exists():
        raise CliError(f"there is no file {path}", "give files that exist, or URLs", code=ExitCode.USAGE)
    if not path.is_file():
        raise CliError(f"{path} is no regular file", "give files, or URLs", code=ExitCode.USAGE)
    if not os.access(path, os.R_OK):
        raise CliError(f"{path} may not be read by you", "check its permissions", code=ExitCode.USAGE)
    return path


def no_store(path: Path, api_url: str) -> CliError:
    """Return the error of a local file for a server on another host."""
    return CliError(
        f"{path} is a file of this machine, and workers of {urlsplit(api_url).hostname} cannot read it",
        "set --store (MILLHAND_STORE) to a folder that the workers see too or to s3://bucket/prefix,"
        " or give a URL",
        code=ExitCode.CONFIGURATION,
    )


def put(path: Path, store: str) -> str:
    """Copy a file into the store and return its URL."""
    key = f"inputs/{digest(path)[:32]}/{path.name}"
    scheme = urlsplit(store).scheme.lower() if is_url(store) else ""
    if scheme in STORE_SCHEMES:
        return put_object(path, store, key)
    if scheme not in ("", "file"):
        raise CliError(
            f"files cannot be put into {scheme}://",
            "use a folder, s3://, gs:// or az:// as --store",
            code=ExitCode.CONFIGURATION,
        )
    return put_copy(path, Path(urlsplit(store).path if scheme else store).absolute() / key)


def put_copy(path: Path, target: Path) -> str:
    """Copy a file into a folder, whole or not at all."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=target.parent, prefix=".", delete=False) as part, path.open("rb") as file:
            shutil.copyfileobj(file, part, CHUNK_BYTES)
        Path(part.name).chmod(0o644)
        Path(part.name).replace(target)
    except OSError as exc:
        raise CliError(
            f"{path} could not be copied to the store {target.parent}: {exc.strerror}",
            "check --store (MILLHAND_STORE)",
            code=ExitCode.CONFIGURATION,
        ) from exc
    return target.as_uri()


def put_object(path: Path, store: str, key: str) -> str:
    """Upload a file as an object."""
    try:
        import obstore
        from obstore.store import from_url
    except ImportError as exc:
        raise CliError(
            f"the store {urlsplit(store).scheme}:// needs the extra `storage`",
            "pip install 'millhand[storage]'",
            code=ExitCode.CONFIGURATION,
        ) from exc
    base = store.rstrip("/")
    try:
        obstore.put(from_url(base), key, path)
    except Exception as exc:  # the library's errors have no common class
        raise CliError(
            f"{path} could not be uploaded to {base}: {type(exc).__name__}",
            "check the store's address and the credentials of this machine",
            code=ExitCode.CONFIGURATION,
        ) from exc
    return f"{base}/{key}"


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
