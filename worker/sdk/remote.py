"""Places that an input comes from, opened for one stream: HTTP, and objects of a store."""

from __future__ import annotations

import base64
import http.client
import re
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, NamedTuple, Protocol

from worker.sdk.errors import Fail

__all__ = ["HttpSource", "NotModified", "Opened", "Passing", "Source", "StoreSource", "without_secrets"]

TIMEOUT_S: Final = 30.0  # of connecting and of every read: a stalled server ends the wait
CHUNK_BYTES: Final = 1024 * 1024
MAX_REDIRECTS: Final = 10
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
RETRYABLE_STATUS: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
MAX_AFTER_S: Final = 24 * 3600.0
COUNT: Final = r"\d{1,18}"
EXTENT: Final = re.compile(
    rf"bytes (?P<first>{COUNT})-(?P<last>{COUNT})/(?P<total>{COUNT}|\*)", re.ASCII | re.IGNORECASE
)


class NotModified(Exception):  # noqa: N818 - what the place says
    """What is known of it already is still so."""


class Passing(Exception):  # noqa: N818 - what the problem is
    """It failed for now; the message says why, without what it is about."""

    def __init__(self, message: str, after_s: float | None = None, *, is_other: bool = False) -> None:
        super().__init__(message)
        self.after_s = after_s  # what the place asked to wait
        self.is_other = is_other  # what is there is not a part of it any more


class Opened(NamedTuple):
    """A stream that has begun."""

    chunks: Iterator[bytes]
    start: int  # where it begins: 0, or what was asked for
    total: int | None  # bytes of the whole; None where the place does not say
    etag: str | None
    modified: str | None  # as the place wrote it
    end: int | None = None  # where this stream ends, which may be before the end of the whole


class Source(Protocol):
    """One place; each `open` is a request of its own, without a second try."""

    def open(
        self, offset: int, etag: str | None, known: tuple[str | None, str | None]
    ) -> AbstractContextManager[Opened]:
        """Begin to read.

        Args:
            offset: from where on, if it is still what `etag` names; it may begin at 0 all the same.
            etag: of the part that is there; strong.
            known: the ETag and the time of what a cache has; asked for with an offset of 0 only.

        Raises:
            NotModified: what a cache has is still so.
            Passing: a problem of now.
            Fail: a problem that stays.
        """
        ...


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Leave redirects to us."""

    def redirect_request(self, *_: Any) -> None:
        """Follow none."""


class HttpSource:
    """A download."""

    def __init__(self, url: str, shown: str) -> None:
        self._url = url
        self._shown = shown
        self._opener = urllib.request.build_opener(NoRedirect)

    def open(
        self, offset: int, etag: str | None, known: tuple[str | None, str | None]
    ) -> AbstractContextManager[Opened]:
        """Begin to read; see `Source`."""
        headers = {"Accept-Encoding": "identity", "User-Agent": "millhand"}
        if offset and etag is not None:
            headers |= {"Range": f"bytes={offset}-", "If-Range": etag}
        elif known[0] is not None:
            headers["If-None-Match"] = known[0]
        elif known[1] is not None:
            headers["If-Modified-Since"] = known[1]
        answer = self._follow(headers)
        try:
            start, end, total = extent_of(answer, offset)
        except Passing:
            answer.close()
            raise
        tag, modified = answer.headers.get("ETag"), answer.headers.get("Last-Modified")
        return Closing(Opened(http_chunks(answer), start, total, tag, modified, end), answer)

    def _follow(self, headers: dict[str, str]) -> Any:
        """Send the request, and follow where it leads."""
        url = self._url
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._request(url, headers)
            if answer.status not in REDIRECTS:
                return answer
            place = answer.headers.get("Location")
            answer.close()
            if place is None:
                raise Fail(f"input {self._shown}: the server answered {answer.status} without saying where")
            try:
                url = self._next(url, urllib.parse.urljoin(url, place))
            except ValueError as exc:
                raise Fail(f"input {self._shown}: the server redirects to what is no URL") from exc
        raise Fail(f"input {self._shown}: the server redirects more than {MAX_REDIRECTS} times")

    def _next(self, before: str, url: str) -> str:
        """Return where a redirect leads, if one may go there."""
        scheme = urllib.parse.urlsplit(url).scheme.lower()
        if scheme not in ("http", "https"):
            raise Fail(f"input {self._shown}: the server redirects to {scheme}://, which is refused")
        if scheme == "http" and urllib.parse.urlsplit(before).scheme.lower() == "https":
            raise Fail(
                f"input {self._shown}: the server redirects to {without_secrets(url)}, from https to http,"
                " which is refused"
            )
        return url

    def _request(self, url: str, headers: dict[str, str]) -> Any:
        """Send one request; return the answer, a redirect too."""
        try:
            request = urllib.request.Request(*plain_request(url, headers))  # noqa: S310 - http(s) only
            return self._opener.open(request, timeout=TIMEOUT_S)
        except urllib.error.HTTPError as exc:
            if exc.code in REDIRECTS:
                return exc
            exc.close()
            if exc.code == 304:
                raise NotModified from None
            said = f"the server answered {exc.code} {exc.reason}"
            if exc.code in RETRYABLE_STATUS:
                raise Passing(said, seconds_of(exc.headers.get("Retry-After"))) from exc
            if exc.code == 416:
                raise Passing(said, is_other=True) from exc  # it is shorter than before
            raise Fail(f"input {self._shown}: {said}") from exc
        except OSError as exc:  # URLError, time-outs and broken connections are all of its kind
            reason = getattr(exc, "reason", exc)
            if isinstance(reason, ssl.SSLCertVerificationError):
                raise Fail(
                    f"input {self._shown}: its certificate is not trusted: {reason.verify_message}"
                ) from exc
            raise Passing(f"could not be downloaded: {reason}") from exc
        except (http.client.InvalidURL, ValueError) as exc:
            raise Fail(f"input {self._shown} is no URL that can be fetched") from exc
        except http.client.HTTPException as exc:
            raise Passing(f"the answer cannot be read: {type(exc).__name__}") from exc


class Closing(AbstractContextManager[Opened]):
    """Close an answer behind its stream."""

    def __init__(self, opened: Opened, answer: Any) -> None:
        self._opened = opened
        self._answer = answer

    def __enter__(self) -> Opened:
        """Give the stream."""
        return self._opened

    def __exit__(self, *_: object) -> None:
        """Close the connection, read to its end or not."""
        self._answer.close()


def http_chunks(answer: Any) -> Iterator[bytes]:
    """Yield what comes; errors are passing ones."""
    try:
        while chunk := answer.read(CHUNK_BYTES):
            yield chunk
    except (OSError, http.client.HTTPException) as exc:
        raise Passing(f"the download broke off: {getattr(exc, 'reason', exc)}") from exc


def extent_of(answer: Any, offset: int) -> tuple[int, int | None, int | None]:
    """Return where an answer begins and ends, and how much the whole is; None: it does not say.

    Raises: Passing where it is another part than was asked for, or does not say which.
    """
    if answer.status != 206:
        length = answer.headers.get("Content-Length", "").strip()
        total = int(length) if re.fullmatch(COUNT, length, re.ASCII) else None
        return 0, total, total
    said = EXTENT.fullmatch(answer.headers.get("Content-Range", "").strip())
    if said is None or int(said["first"]) != offset or int(said["last"]) < offset:
        raise Passing("the server sent another part than was asked for", is_other=True)
    end, total = int(said["last"]) + 1, None if said["total"] == "*" else int(said["total"])
    if total is not None and total < end:
        raise Passing("the server sent a part beyond the end", is_other=True)
    return offset, end, total


def plain_request(url: str, headers: dict[str, str]) -> tuple[str, None, dict[str, str]]:
    """Return a URL as it is sent, without user and password, which go into a header."""
    parts = urllib.parse.urlsplit(url)
    user, is_given, host = parts.netloc.rpartition("@")
    if is_given:
        plain = urllib.parse.unquote(user).encode()
        headers = {**headers, "Authorization": f"Basic {base64.b64encode(plain).decode()}"}
    path, query = (urllib.parse.quote(part, safe="%/:=&?~+!$,;'@()*[]") for part in (parts.path, parts.query))
    return urllib.parse.urlunsplit((parts.scheme, host, path, query, "")), None, headers


def seconds_of(retry_after: str | None) -> float | None:
    """Return what a server asks to wait, in seconds; a date says nothing to a clock that may be wrong."""
    if retry_after is None or not (retry_after.isascii() and retry_after.isdigit()):
        return None
    return min(float(retry_after), MAX_AFTER_S)


class StoreSource:
    """An object of a store, with the credentials of this machine."""

    def __init__(self, url: str, shown: str) -> None:
        """Raises: Fail where the extra is not installed."""
        try:
            import obstore  # noqa: PLC0415 - an extra
            from obstore.store import from_url  # noqa: PLC0415 - an extra
        except ImportError as exc:
            raise Fail(f"input {shown} needs the extra `storage`: pip install 'millhand[storage]'") from exc
        parts = urllib.parse.urlsplit(url)
        self._obstore: Any = obstore
        self._shown = shown
        self._path = urllib.parse.unquote(parts.path.lstrip("/"))
        try:
            self._store: Any = from_url(f"{parts.scheme}://{parts.netloc}")
        except Exception as exc:
            raise Fail(f"input {shown} cannot be reached as it is written: {type(exc).__name__}") from exc

    def open(
        self, offset: int, etag: str | None, known: tuple[str | None, str | None]
    ) -> AbstractContextManager[Opened]:
        """Begin to read; see `Source`."""
        options: dict[str, Any] = {}
        if offset and etag is not None:
            options = {"range": {"offset": offset}, "if_match": etag}
        elif known[0] is not None:
            options = {"if_none_match": known[0]}
        try:
            found = self._obstore.get(self._store, self._path, options=options)
            meta = found.meta
        except Exception as exc:
            raise self._meant(exc) from exc
        modified = str(meta["last_modified"]) if meta.get("last_modified") else None
        start = found.range[0] if options.get("range") else 0
        opened = Opened(self._chunks(found), start, meta["size"], meta.get("e_tag"), modified)
        return nullcontext(opened)

    def _chunks(self, found: Any) -> Iterator[bytes]:
        try:
            for chunk in found:
                yield bytes(chunk)
        except Exception as exc:
            raise self._meant(exc) from exc

    def _meant(self, exc: Exception) -> Exception:
        """Return what an error of the library means."""
        match type(exc).__name__:
            case "NotModifiedError":
                return NotModified()
            case "NotFoundError" | "FileNotFoundError":
                return Fail(f"input {self._shown} does not exist")
            case "PermissionError" | "PermissionDeniedError" | "UnauthenticatedError":
                return Fail(f"input {self._shown} may not be read with the credentials of this machine")
            case "PreconditionError":
                return Passing("it changed while it was read", is_other=True)
        return Passing(f"could not be read: {type(exc).__name__}")


def without_secrets(source: str) -> str:
    """Return a URL for messages: without user, password, query and fragment, where secrets are.

    Raises: ValueError where it cannot be read, as with `/` in a password: nobody knows what is secret then.
    """
    parts = urllib.parse.urlsplit(source)
    _ = parts.port
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
