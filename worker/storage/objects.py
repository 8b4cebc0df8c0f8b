"""Object stores by their URL: S3, Google Cloud Storage, Azure; by obstore (extra ``storage``)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from worker.storage.address import Address
from worker.storage.file import SpooledFile, safe_part
from worker.storage.folder import check_size
from worker.storage.store import StoreError, StoreRefused, limit_s, not_stored

__all__ = ["ObjectStore"]

PART_BYTES: Final = 8 << 20
PARTS_MAX: Final = 9_000  # S3 takes 10,000 parts of one object
PARTS_AT_ONCE: Final = 4  # bounds the memory: so many parts of one file are held
REFUSALS: Final = frozenset(
    {"PermissionDeniedError", "UnauthenticatedError", "NotFoundError", "InvalidPathError"}
    | {"NotSupportedError", "NotImplementedError", "UnknownConfigurationKeyError", "ValueError"}
)


class ObjectStore:
    """Objects at ``<url>/<run id>/<name>``; each appears whole or not at all."""

    def __init__(self, url: str) -> None:
        """Take a URL such as ``s3://bucket/prefix``; credentials are the machine's own."""
        self._url = url.rstrip("/")
        self._address = Address.read(url)
        self._opened: Any = None

    def url_of(self, run_id: str, name: str) -> str:
        """Return the object's URL; see `Store`."""
        return self._address.url_of(key_of(run_id, name))

    async def store(self, run_id: str, file: SpooledFile, path: Path) -> None:
        """Store one file; see `Store`."""
        await asyncio.to_thread(check_size, file, path)
        url = self.url_of(run_id, file.name)
        try:
            async with asyncio.timeout(limit_s(file.size_bytes)):
                await self._put(key_of(run_id, file.name), file, path)
        except TimeoutError as exc:
            reason = f"it took longer than {limit_s(file.size_bytes):.0f} s"
            raise StoreError(not_stored(file, url, reason)) from exc
        except ModuleNotFoundError as exc:
            reason = "it needs the extra `storage`: pip install 'millhand[storage]'"
            raise StoreRefused(not_stored(file, url, reason)) from exc
        except Exception as exc:  # noqa: BLE001 - the library's errors are documented by name; some are of other kinds
            reason = f"{type(exc).__name__}: {self._address.scrubbed(str(exc))}"
            kind = StoreRefused if is_refusal(exc) else StoreError
            raise kind(not_stored(file, url, reason)) from None  # its text may hold what is secret

    async def aclose(self) -> None:
        """Let the connections go."""
        self._opened = None

    async def _put(self, key: str, file: SpooledFile, path: Path) -> None:
        import obstore  # noqa: PLC0415 - an extra
        from obstore.store import from_url  # noqa: PLC0415 - an extra

        if self._opened is None:
            self._opened = await asyncio.to_thread(from_url, self._url)
        has_attributes = urlsplit(self._url).scheme != "file"  # obstore's local store knows none
        await obstore.put_async(
            self._opened,
            key,
            path,
            attributes={"Content-Type": file.content_type} if has_attributes else None,
            chunk_size=max(PART_BYTES, -(-file.size_bytes // PARTS_MAX)),
            max_concurrency=PARTS_AT_ONCE,
        )


def key_of(run_id: str, name: str) -> str:
    """Return the key of a file."""
    return f"{safe_part(run_id)}/{name}"


def is_refusal(exc: Exception) -> bool:
    """Tell whether a person has to look; a URL that no store has is told as a generic error."""
    return type(exc).__name__ in REFUSALS or "Generic URL error" in str(exc)
