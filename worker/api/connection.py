"""One request, one answer: what is sent with each, and what an answer means."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final, TypeVar
from urllib.parse import quote, unquote, urlencode

import msgspec

from worker.api import wire
from worker.api.body import Body, decode, read_bytes, unpacked
from worker.api.end import End, last_try_s
from worker.api.errors import ApiError, EmptyAnswer, TransportError, error_for_status
from worker.api.reach import Reach
from worker.api.request import Headers, Origin, Request
from worker.api.token import TokenSource
from worker.api.transport import FAULTS, Answer, Transport, reason_of

__all__ = ["Answered", "Connection", "ServerTraits", "error_of"]

ERROR_BYTES_MAX: Final = 64 * 1024
RETRY_AFTER_MAX_S: Final = 3600.0  # a server that asks for more is taken as asking for this
ENCODER: Final = msgspec.json.Encoder()
T = TypeVar("T")

Answered = tuple[dict[str, Any], Mapping[str, str]]  # an object, and the headers with names in lower case


class ServerTraits:
    """What the server's answers have told of it so far; shared by the connections to one server."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self.claims_unique = False  # it says that one live run per task is sure
        self.takes_offers = False  # of runs, as its last list said
        self.batch_most = 0  # writes of runs that it takes in one request, as its last answer said; 0: none
        self.reach = Reach()
        self._batch_said = ""
        self._date = ""

    @property
    def is_ours(self) -> bool:
        """Tell whether the last answer was of a server that has our additions."""
        return self._batch_said != ""

    @property
    def date(self) -> datetime | None:
        """The server's clock, as its last answer told it; None where it did not."""
        return http_date(self._date)

    def learn(self, headers: Mapping[str, str]) -> None:
        """Keep what an answer tells of the server itself."""
        if headers.get(CLAIMS, "").lower() == "unique":
            self.claims_unique = True
        self._learn_batches(headers.get(BATCH, ""))
        self._date = headers.get("date", self._date)

    def _learn_batches(self, said: str) -> None:
        """Keep how many writes go together; an answer that does not say so is of a server that takes none."""
        if said != self._batch_said:
            self._batch_said = said
            self.batch_most = min(max(wire.as_int(said) or 0, 0), wire.BATCH_MOST)


CLAIMS: Final = wire.CLAIMS_HEADER.lower()
BATCH: Final = wire.BATCH_HEADER.lower()


class Connection:
    """Connections to one server for one purpose.

    Nothing of a client that follows redirects, keeps cookies or finds credentials is wanted here: a
    redirect could carry the token to another host.
    """

    def __init__(
        self,
        transport: Transport,
        url: str,
        token: TokenSource,
        *,
        headers: Mapping[str, str] | None = None,
        limit_s: float = 30.0,
        traits: ServerTraits | None = None,
    ) -> None:
        """`headers` go with every request; `limit_s` bounds a request with its answer."""
        self._transport = transport
        self._url = url
        self._token = token
        self._fixed = dict(headers or {})
        self.limit_s = limit_s
        self.traits = traits or ServerTraits()
        self._headers: tuple[str | None, Headers] | None = None  # and the token that they carry
        self.end: End | None = None  # after which no answer is of use

    @cached_property
    def _origin(self) -> Origin:
        return Origin.of(self._url)

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Iterable[tuple[str, str]] = (),
        body: Mapping[str, Any] | msgspec.Raw | None = None,
        prefer: str | None = None,
    ) -> Request:
        """Return a request that is ready to be sent; `path` is encoded."""
        origin = self._origin
        query = urlencode(list(params), quote_via=quote) if params else ""
        return Request(
            method,
            origin,
            f"{origin.path}{path}?{query}" if query else origin.path + path,
            self._shared(),
            prefer,
            None if body is None else ENCODER.encode(body),
        )

    def _shared(self) -> Headers:
        """Return the headers of every request, with the token as it is now."""
        token, known = self._token.current(), self._headers
        if known is not None and known[0] == token:
            return known[1]
        fields = {"host": self._origin.netloc, **self._fixed}
        if token:
            fields["authorization"] = f"Bearer {token}"
        headers = Headers.of(fields)
        self._headers = (token, headers)
        return headers

    def name_of(self, method: str, path: str) -> str:
        """Return `Request.what` of a request without the request."""
        return f"{method} {unquote(self._origin.path + path)}"

    async def answer(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | msgspec.Raw | None = None,
        *,
        prefer: str | None = None,
    ) -> Answered:
        """Make one request about one thing; return the object in the answer, and the headers.

        Raises: the errors of `worker.api.errors`.
        """
        request = self.request(method, path, body=body, prefer=prefer)
        content, headers = await self.exchange(request, read_bytes, self.limit_s)
        if not content:
            raise EmptyAnswer(
                f"{request.what} was answered by nothing: this is not the API, or a proxy cuts it"
            )
        if (raw := wire.one_of(decode(content))) is None:
            raise TransportError(f"{request.what} answered no object")
        return raw, headers

    async def exchange(
        self, request: Request, read: Callable[[Body], Awaitable[T]], limit_s: float
    ) -> tuple[T, Mapping[str, str]]:
        """Send a request; return what `read` makes of the body of a 2xx, and the headers (lower case).

        `limit_s` bounds the whole; less does where an end is in sight.
        Raises: the errors of `worker.api.errors`.
        """
        reach = self.traits.reach
        try:
            answer = await self.send(request, read, limit_s)
        except ApiError as error:
            reach.failed(request.what, error)
            raise
        if reach.is_failing:
            reach.answered(request.what)
        return answer

    async def send(
        self, request: Request, read: Callable[[Body], Awaitable[T]], limit_s: float
    ) -> tuple[T, Mapping[str, str]]:
        """Do as `exchange`, and leave it to the caller what that tells of the server's reach."""
        left_s = None if self.end is None else self.end.end_in_s()
        limit_s = limit_s if left_s is None else min(limit_s, last_try_s(left_s))
        try:
            answer = await self._transport.ask(request, limit_s)
            try:
                headers = answer.headers
                self.traits.learn(headers)
                if 200 <= answer.status < 300:
                    return await read(body_of(answer)), headers
                raise await self._error(request.what, answer)
            finally:
                await answer.aclose()
        except TimeoutError as exc:
            raise TransportError(f"{request.what} brought no whole answer within {limit_s:g} s") from exc
        except FAULTS as exc:
            raise TransportError(f"{request.what} failed: {reason_of(exc)}") from exc

    async def _error(self, what: str, answer: Answer) -> ApiError:
        try:
            body = decode(await read_bytes(body_of(answer), ERROR_BYTES_MAX))
        except TimeoutError:
            raise
        except (TransportError, *FAULTS):  # the status was told, whatever becomes of the body
            body = None
        return error_of(what, answer.status, body, answer.headers)


def error_of(what: str, status: int, body: Any, headers: Mapping[str, str]) -> ApiError:
    """Return the error of an answer that is not 2xx, with what its body says, if it is the documented one."""
    error = wire.as_mapping(wire.as_mapping(body).get("error"))
    return error_for_status(
        what,
        status,
        code=wire.as_text(error.get("code")),
        message=wire.as_text(error.get("message")),
        retry_after_s=retry_after(headers.get("retry-after"), headers.get("date")),
    )


def body_of(answer: Answer) -> Body:
    """Return a body as it was before it was packed: at once where it is here and was not."""
    encoding = answer.headers.get("content-encoding", "").strip().lower()
    whole = None if encoding else answer.whole()
    return unpacked(answer, encoding) if whole is None else whole


def http_date(value: str | None) -> datetime | None:
    """Read a date of HTTP; None where it is none."""
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - few answers have one that is looked at

    try:
        at = parsedate_to_datetime(value) if value else None
    except (TypeError, ValueError, OverflowError):
        return None
    return at if at is None or at.tzinfo else at.replace(tzinfo=UTC)


def retry_after(value: str | None, date: str | None) -> float | None:
    """Read `Retry-After` in seconds: a number, or a date against the server's clock in the same answer."""
    if not value:
        return None
    seconds = wire.as_float(value)
    if seconds is None and (at := http_date(value)) and (now := http_date(date)):
        seconds = (at - now).total_seconds()
    return None if seconds is None else min(max(seconds, 0.0), RETRY_AFTER_MAX_S)
