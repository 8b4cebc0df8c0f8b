"""One request, one answer: what is sent with each, and what an answer means."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode

import httpx
import msgspec

from worker.api import wire
from worker.api.body import decode, read_bytes, unpacked
from worker.api.end import End, last_try_s
from worker.api.errors import ApiError, TransportError, error_for_status
from worker.api.reach import Reach
from worker.api.token import TokenSource
from worker.api.transport import FAULTS, reason_of

__all__ = ["Connection", "ServerTraits"]

CONNECT_S: Final = 10.0  # a host that does not accept in this time is treated as down
ERROR_BYTES_MAX: Final = 64 * 1024
RETRY_AFTER_MAX_S: Final = 3600.0  # a server that asks for more is taken as asking for this
WRITES: Final = frozenset({"POST", "PUT", "PATCH"})  # of which a server may want a length, be it 0
URLS_KEPT: Final = 1024  # polls, and the runs that report; each is asked again and again
T = TypeVar("T")


class ServerTraits:
    """What the server's answers have told of it so far; shared by the connections to one server."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self.claims_unique = False  # it says that one live run per task is sure
        self.reach = Reach()
        self._date = ""

    @property
    def date(self) -> datetime | None:
        """The server's clock, as its last answer told it; None where it did not."""
        return http_date(self._date)

    def learn(self, headers: Mapping[str, str]) -> None:
        """Keep what an answer tells of the server itself."""
        if headers.get(CLAIMS, "").lower() == "unique":
            self.claims_unique = True
        self._date = headers.get("date", self._date)


CLAIMS: Final = wire.CLAIMS_HEADER.lower()


class Connection:
    """Connections to one server for one purpose.

    Requests go straight to httpx's transport: its client above that costs as much again, for
    redirects, cookies and credentials that are not wanted here. A redirect could carry the token to
    another host.
    """

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        url: str,
        token: TokenSource,
        *,
        headers: Mapping[str, str] | None = None,
        limit_s: float = 30.0,
        traits: ServerTraits | None = None,
    ) -> None:
        """`headers` go with every request; `limit_s` bounds a request with its answer."""
        self._transport = transport
        self._url = url.rstrip("/") + "/"
        self._token = token
        self._headers = dict(headers or {})
        self.limit_s = limit_s
        self.traits = traits or ServerTraits()
        self._url_of = lru_cache(URLS_KEPT)(httpx.URL)  # to read one costs a fifth of a request
        self.end: End | None = None  # after which no answer is of use

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Iterable[tuple[str, str]] = (),
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Request:
        """Return a request that is ready to be sent.

        It has all its headers from the start: to have httpx add some costs twice the rest.
        """
        query = urlencode(list(params), quote_via=quote)
        url = self._url_of(f"{self._url}{path}?{query}" if query else self._url + path)
        sent = {"host": url.netloc.decode("ascii"), **self._headers, **(headers or {})}
        if token := self._token.current():
            sent["authorization"] = f"Bearer {token}"
        content = b""
        if body is not None:
            content = msgspec.json.encode(body)
            sent["content-type"] = "application/json"
        if body is not None or method in WRITES:
            sent["content-length"] = str(len(content))
        request = httpx.Request(
            method,
            url,
            headers=sent,
            stream=httpx.ByteStream(content),
            extensions={"timeout": {"connect": CONNECT_S}},
        )
        request.read()  # what the transport is given then is bytes, which it can send again
        return request

    async def exchange(
        self, request: httpx.Request, read: Callable[[AsyncIterator[bytes]], Awaitable[T]], limit_s: float
    ) -> tuple[T, Mapping[str, str]]:
        """Send a request; return what `read` makes of the body of a 2xx, and the headers (lower case).

        `limit_s` bounds the whole; less does where an end is in sight.
        Raises: the errors of `worker.api.errors`.
        """
        what = f"{request.method} {request.url.path}"
        try:
            answer = await self._exchange(what, request, read, limit_s)
        except ApiError as error:
            self.traits.reach.failed(what, error)
            raise
        self.traits.reach.answered(what)
        return answer

    async def _exchange(
        self,
        what: str,
        request: httpx.Request,
        read: Callable[[AsyncIterator[bytes]], Awaitable[T]],
        limit_s: float,
    ) -> tuple[T, Mapping[str, str]]:
        left_s = None if self.end is None else self.end.end_in_s()
        limit_s = limit_s if left_s is None else min(limit_s, last_try_s(left_s))
        try:
            async with asyncio.timeout(limit_s):
                response = await self._transport.handle_async_request(request)
                try:
                    return await self._understand(what, response, read)
                finally:
                    await response.aclose()
        except TimeoutError as exc:
            raise TransportError(f"{what} brought no whole answer within {limit_s:g} s") from exc
        except FAULTS as exc:
            raise TransportError(f"{what} failed: {reason_of(exc)}") from exc

    async def _understand(
        self, what: str, response: httpx.Response, read: Callable[[AsyncIterator[bytes]], Awaitable[T]]
    ) -> tuple[T, Mapping[str, str]]:
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers.raw
        }
        self.traits.learn(headers)
        assert isinstance(response.stream, httpx.AsyncByteStream)
        body = unpacked(response.stream, headers.get("content-encoding", "").strip().lower())
        if 200 <= response.status_code < 300:
            return await read(body), headers
        raise await self._error(what, response.status_code, body, headers)

    async def _error(
        self, what: str, status: int, chunks: AsyncIterator[bytes], headers: Mapping[str, str]
    ) -> ApiError:
        try:
            body = decode(await read_bytes(chunks, ERROR_BYTES_MAX))
        except (TransportError, *FAULTS):  # the status was told, whatever becomes of the body
            body = None
        error = wire.as_mapping(wire.as_mapping(body).get("error"))
        return error_for_status(
            what,
            status,
            code=wire.as_text(error.get("code")),
            message=wire.as_text(error.get("message")),
            retry_after_s=retry_after(headers.get("retry-after"), http_date(headers.get("date"))),
        )


def http_date(value: str | None) -> datetime | None:
    """Read a date of HTTP; None where it is none."""
    try:
        at = parsedate_to_datetime(value) if value else None
    except (TypeError, ValueError, OverflowError):
        return None
    return at if at is None or at.tzinfo else at.replace(tzinfo=UTC)


def retry_after(value: str | None, now: datetime | None) -> float | None:
    """Read `Retry-After` in seconds: a number, or a date against the server's clock in the same answer."""
    if not value:
        return None
    seconds = wire.as_float(value)
    if seconds is None and (at := http_date(value)) and now:
        seconds = (at - now).total_seconds()
    return None if seconds is None else min(max(seconds, 0.0), RETRY_AFTER_MAX_S)
