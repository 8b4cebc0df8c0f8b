"""Which store a setting means."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from worker.api.token import FixedToken, TokenSource
from worker.storage.folder import FolderStore
from worker.storage.objects import ObjectStore
from worker.storage.store import Store

__all__ = ["open_store"]


def open_store(place: str | Path, token: TokenSource | None = None, ca_file: Path | None = None) -> Store:
    """Return the store for a folder, a ``file://`` URL, ``http(s)://`` (PUT), or an object store's URL.

    Args:
        place: which.
        token: sent with each PUT as a bearer.
        ca_file: authorities to trust beside the system's, for PUT.
    """
    text = str(place)
    scheme = urlsplit(text).scheme.lower() if "://" in text else ""
    if scheme == "file":
        return FolderStore(Path(unquote(urlsplit(text).path)))
    if scheme in ("http", "https"):
        from worker.storage.http_put import HttpStore  # noqa: PLC0415 - aiohttp takes a tenth of a second

        return HttpStore(text, token or FixedToken(None), ca_file)
    return ObjectStore(text) if scheme else FolderStore(Path(text))
