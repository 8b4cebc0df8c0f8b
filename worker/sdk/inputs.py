"""Get an input of a handler onto this machine: a path, a file URL, a download, an object of a store.

Imported at the first use of `Context.input`, because urllib costs 40 ms.
"""

from __future__ import annotations

import os
import shutil
import socket
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Any, Final

from worker.sdk.errors import Fail, Retry

__all__ = ["fetch_input"]

TIMEOUT_S: Final = 30.0  # of connecting and of every read: a stalled server ends the wait
CHUNK_BYTES: Final = 1024 * 1024
RETRYABLE_STATUS: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
STORE_SCHEMES: Final = frozenset({"s3", "s3a", "gs", "az", "azure", "abfs", "abfss"})


def fetch_input(source: str, workdir: Path, max_bytes: int, check: Callable[[], None]) -> Path:
    """Return the input as a readable local file; `check` is called between chunks, to stop early.

    Raises:
        Fail: it is missing, not readable, too large, or of a kind that cannot be fetched here.
        Retry: the place it comes from has a passing problem.
    """
    scheme = urllib.parse.urlsplit(source).scheme.lower() if "://" in source else ""
    if scheme in ("", "file"):
        return local_file(source)
    shown = without_secrets(source)
    if scheme not in ("http", "https") and scheme not in STORE_SCHEMES:
        raise Fail(f"input {shown}: {scheme}:// is not known; use a path, file, http(s), s3, gs or az")
    chunks = http_chunks(source, shown) if scheme in ("http", "https") else store_chunks(source, shown)
    return save(chunks, free_path(workdir / "inputs", source), shown, max_bytes, check)


def local_file(source: str) -> Path:
    """Return a path or file URL as an existing file that can be read."""
    path = Path(
        urllib.request.url2pathname(urllib.parse.urlsplit(source).path) if "://" in source else source
    )
    host = socket.gethostname()
    if not path.exists():
        raise Fail(f"input {path} does not exist on {host}; the worker needs it at that path, or a URL")
    if not path.is_file():
        raise Fail(f"input {path} on {host} is no regular file")
    if not os.access(path, os.R_OK):
        raise Fail(f"input {path} on {host} may not be read by the user of the worker (uid {os.geteuid()})")
    return path.absolute()


def http_chunks(source: str, shown: str) -> Iterable[bytes]:
    """Stream a download."""
    try:
        with urllib.request.urlopen(source, timeout=TIMEOUT_S) as answer:  # noqa: S310 - http(s) only
            while chunk := answer.read(CHUNK_BYTES):
                yield chunk
    except urllib.error.HTTPError as exc:
        exc.close()
        raised = Retry if exc.code in RETRYABLE_STATUS else Fail
        raise raised(f"input {shown}: the server answered {exc.code} {exc.reason}") from exc
    except OSError as exc:  # URLError, time-outs and broken connections are all of its kind
        raise Retry(f"input {shown} could not be downloaded: {getattr(exc, 'reason', exc)}") from exc


def store_chunks(source: str, shown: str) -> Iterable[bytes]:
    """Stream an object of a store."""
    try:
        import obstore  # noqa: PLC0415 - an extra
        from obstore.store import from_url  # noqa: PLC0415 - an extra
    except ImportError as exc:
        raise Fail(f"input {shown} needs the extra `storage`: pip install 'millhand[storage]'") from exc
    parts = urllib.parse.urlsplit(source)
    store: Any = from_url(f"{parts.scheme}://{parts.netloc}")
    try:
        for chunk in obstore.get(store, urllib.parse.unquote(parts.path.lstrip("/"))):
            yield bytes(chunk)
    except FileNotFoundError as exc:
        raise Fail(f"input {shown} does not exist") from exc
    except PermissionError as exc:
        raise Fail(f"input {shown} may not be read with the credentials of this machine") from exc
    except Exception as exc:  # the library's errors have no common class for passing ones
        raise Retry(f"input {shown} could not be read: {type(exc).__name__}") from exc


def save(chunks: Iterable[bytes], path: Path, shown: str, max_bytes: int, check: Callable[[], None]) -> Path:
    """Write chunks to a file under its name only when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    size_bytes = 0
    try:
        with part.open("xb") as file:
            for chunk in chunks:
                check()
                size_bytes += len(chunk)
                if size_bytes > max_bytes:
                    raise Fail(f"input {shown} is larger than {max_bytes} bytes")
                file.write(chunk)
        part.rename(path)
    except OSError as exc:
        free_bytes = shutil.disk_usage(path.parent).free
        raise Retry(f"input {shown} could not be written to {path} ({free_bytes} bytes free): {exc}") from exc
    finally:
        part.unlink(missing_ok=True)
    return path


def free_path(folder: Path, source: str) -> Path:
    """Return a path in the folder that is not taken, named after the URL's last part."""
    name = PurePosixPath(urllib.parse.unquote(urllib.parse.urlsplit(source).path)).name
    if name in ("", ".", "..") or not name.isprintable() or len(os.fsencode(name)) > 200:
        name = "input"
    count, path = 1, folder / name
    while path.exists():
        path = folder / f"{count}-{name}"
        count += 1
    return path


def without_secrets(source: str) -> str:
    """Return a URL for messages: without user, password, query and fragment, where secrets are."""
    parts = urllib.parse.urlsplit(source)
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
