"""Any HTTP server that takes PUT: WebDAV, Artifactory, nginx, a service of one's own."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from worker.api.token import TokenSource
from worker.storage.address import Address
from worker.storage.file import SpooledFile, safe_part
from worker.storage.store import FileGone, StoreError, StoreRefused, limit_s, not_stored

__all__ = ["HttpStore"]

CHUNK_BYTES: Final = 1 << 20
CONNECT_S: Final = 15.0
RETRY_AFTER_MAX_S: Final = 3600.0  # however long a store asks for
AGAIN: Final = frozenset({408, 423, 425, 429})  # of 4xx: these pass by themselves


class HttpStore:
    """``PUT <url>/<run id>/<name>``; 2xx is stored. Redirects are not followed: a token would go along."""

    def __init__(self, url: str, token: TokenSource, ca_file: Path | None = None) -> None:
        """`token` goes as a bearer, else the credentials of the URL; `ca_file` adds to the system's."""
        self._address = Address.read(url)
        self._token = token
        self._ca_file = ca_file
        self._session: aiohttp.ClientSession | None = None

    def url_of(self, run_id: str, name: str) -> str:
        """Return the file's URL; see `Store`."""
        return self._address.url_of(f"{safe_part(run_id)}/{name}")

    async def store(self, run_id: str, file: SpooledFile, path: Path) -> None:
        """Store one file; see `Store`."""
        url = self.url_of(run_id, file.name)
        reading = Reading(file, path)
        try:
            async with asyncio.timeout(limit_s(file.size_bytes)):
                status, retry_after_s = await self._put(url, file, reading)
        except TimeoutError as exc:
            reason = f"it took longer than {limit_s(file.size_bytes):.0f} s"
            raise StoreError(not_stored(file, url, reason)) from exc
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            reading.check()
            reason = f"{type(exc).__name__}: {self._scrubbed(str(exc))}"
            raise StoreError(not_stored(file, url, reason)) from None  # its text may hold what is secret
        reading.check()
        if not 200 <= status < 300:
            kind = StoreError if status >= 500 or status in AGAIN else StoreRefused
            raise kind(not_stored(file, url, words_of(status)), retry_after_s)

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _put(self, url: str, file: SpooledFile, reading: Reading) -> tuple[int, float | None]:
        if self._session is None:
            self._session = await self._open()
        sent_to = f"{url}?{self._address.query}" if self._address.query else url
        async with self._session.put(
            URL(sent_to, encoded=True),
            data=reading.chunks(),
            headers=self._headers(file),
            allow_redirects=False,
            proxy=proxy_for(url),
        ) as answer:
            return answer.status, seconds(answer.headers.get("retry-after"))

    async def _open(self) -> aiohttp.ClientSession:
        context = await asyncio.to_thread(trusting, self._ca_file)
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )

    def _headers(self, file: SpooledFile) -> dict[str, str]:
        """Return what is said of a file; its digest in the form of RFC 9530, and in that of Artifactory."""
        digest = base64.b64encode(bytes.fromhex(file.sha256)).decode("ascii")
        headers = {
            "Content-Type": file.content_type,
            "Content-Length": str(file.size_bytes),
            "Content-Digest": f"sha-256=:{digest}:",
            "X-Checksum-Sha256": file.sha256,
        }
        if (token := self._token.current()) is not None:
            headers["Authorization"] = f"Bearer {token}"
        elif self._address.user is not None:
            pair = f"{self._address.user}:{self._address.password or ''}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode('ascii')}"
        return headers

    def _scrubbed(self, message: str) -> str:
        token = self._token.current()
        return self._address.scrubbed(message, (token,) if token else ())


class Reading:
    """Read a file of the spool for sending, and see that it is what was spooled.

    The last piece is held back until the digest is known: what was changed never arrives whole.
    """

    def __init__(self, file: SpooledFile, path: Path) -> None:
        """Read nothing yet."""
        self._file = file
        self._path = path
        self._gone: FileGone | None = None

    async def chunks(self) -> AsyncIterator[bytes]:
        """Give the file in pieces of bounded size."""
        digest, sent_bytes, piece = hashlib.sha256(), 0, b""
        try:
            with await asyncio.to_thread(self._path.open, "rb") as source:
                while chunk := await asyncio.to_thread(source.read, CHUNK_BYTES):
                    await asyncio.to_thread(digest.update, chunk)
                    if piece:
                        yield piece
                    sent_bytes, piece = sent_bytes + len(chunk), chunk
        except OSError as exc:
            raise self._give_up(f"cannot be read: {exc.strerror}") from exc
        if sent_bytes != self._file.size_bytes or digest.hexdigest() != self._file.sha256:
            raise self._give_up("was changed")
        if piece:
            yield piece

    def check(self) -> None:
        """Raise FileGone where that is why the sending failed."""
        if self._gone is not None:
            raise self._gone

    def _give_up(self, what: str) -> FileGone:
        self._gone = FileGone(f"file {self._file.name} of the spool {what}: {self._path}")
        return self._gone


def trusting(ca_file: Path | None) -> ssl.SSLContext:
    """Return the TLS settings: the system's authorities, and one's own."""
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context


def proxy_for(url: str) -> str | None:
    """Return the proxy that the environment names for a URL."""
    parts = urlsplit(url)
    if proxy_bypass(parts.hostname or ""):
        return None
    return getproxies().get(parts.scheme)


def seconds(text: str | None) -> float | None:
    """Read a `Retry-After` in seconds; dates are left, the back-off will do."""
    if text is None or not text.strip().isdecimal() or not text.isascii():
        return None
    return min(float(text), RETRY_AFTER_MAX_S)


def words_of(status: int) -> str:
    """Say what a refusal may mean."""
    if status in (401, 403):
        return f"the store answered {status}; check MILLHAND_STORE_TOKEN and the rights behind it"
    if 300 <= status < 400:
        return f"the store answered {status}, a redirect; set --store to the address that it leads to"
    return f"the store answered {status}"
