"""Writes of runs that are due at the same moment go in one request, where the server takes them so.

Each stands alone, as if it had been sent by itself: it is answered by itself, and where the request that
carried it brought no answer, nobody knows what was done, of each of them. What claims and reports mean, when
they are written down and when they are repeated is decided where they are made, and is the same either way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, Final

import msgspec
import structlog
from msgspec import Raw

from worker.api import wire
from worker.api.body import decode, read_bytes
from worker.api.connection import Answered, Connection, error_of
from worker.api.errors import ApiError, EmptyAnswer, RateLimited, Rejected, TransportError
from worker.api.writes import Told, Waiting, Write

__all__ = ["Batches"]

PATH: Final = "api/batch"
ALONE_BYTES: Final = 64 * 1024  # a larger write goes alone: it would hold up the others
MOST_BYTES: Final = 256 * 1024  # of all in one request: proxies take a megabyte, some of them less
REST_S: Final = 60.0  # how long writes go alone after a batch that failed; longer after each further one
REST_MOST_S: Final = 900.0
BUSY: Final = 503  # documented, it says that the server has too much to do, and nothing of batches
ENCODER: Final = msgspec.json.Encoder()
log = structlog.get_logger()


class Batches:
    """Collect the writes of one moment; used on one event loop by the clients of one server."""

    def __init__(self, connection: Connection, *, rest_s: float = REST_S) -> None:
        """Send on this connection what goes together; after one that failed none for `rest_s`."""
        self._connection = connection
        self._waiting: list[Waiting | Told] = []
        self._sending: dict[asyncio.Task[None], Sequence[Waiting | Told]] = {}
        self._first_rest_s = rest_s
        self._rest_s = rest_s  # after the next failure
        self._rests_until: float | None = None  # None: no batch has failed
        self._is_closed = False

    @property
    def connection(self) -> Connection:
        """What carries them."""
        return self._connection

    async def answer(
        self, alone: Connection, method: str, path: str, body: Mapping[str, Any], *, prefer: str | None = None
    ) -> Answered:
        """Make a write, with others if there are some, else by the connection that is given.

        What it prefers is asked for where those that go with it prefer the same.

        Raises: the errors of `worker.api.errors`.
        """
        if not self._is_open:
            return await alone.answer(method, path, body, prefer=prefer)
        encoded = ENCODER.encode(body)
        if len(encoded) <= ALONE_BYTES:
            write = Waiting(method, path, encoded, prefer, asyncio.get_running_loop().create_future())
            self._join(write)
            if (answer := await write.answer) is not None:
                return answer
        return await alone.answer(method, path, Raw(encoded), prefer=prefer)

    def begin(
        self,
        alone: Connection,
        method: str,
        path: str,
        body: Mapping[str, Any],
        on_answer: Callable[[Answered | ApiError], None],
        *,
        prefer: str | None = None,
    ) -> bool:
        """Make a write as `answer` does, and return at once: a task for each costs more than the write.

        `on_answer` is told once, later, what came of it; never, where this is closed before. Returns False,
        and does nothing, where none go together now, or this one is too large for it.
        """
        if not self._is_open or len(encoded := ENCODER.encode(body)) > ALONE_BYTES:
            return False
        self._join(Told(method, path, encoded, prefer, alone, on_answer))
        return True

    async def aclose(self) -> None:
        """Give up what is under way: nobody waits for it any more."""
        self._is_closed = True
        self._flush()
        sending = dict(self._sending)
        for task in sending:
            task.cancel()
        await asyncio.gather(*sending, return_exceptions=True)
        for write in chain.from_iterable(sending.values()):  # one that was cancelled before it began
            if isinstance(write, Waiting):
                write.fail(given_up(f"{write.method} {write.path}", asyncio.CancelledError()))

    @property
    def _is_open(self) -> bool:
        """Tell whether the server takes several at once, and what it was last sent so was answered."""
        if self._connection.traits.batch_most <= 1 or self._is_closed:
            return False
        return self._rests_until is None or asyncio.get_running_loop().time() >= self._rests_until

    def _join(self, write: Waiting | Told) -> None:
        self._waiting.append(write)
        if len(self._waiting) == 1:
            self._gather()

    def _gather(self) -> None:
        """Let what else is ready to run now come with its writes; wait no longer."""
        asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        """Send what waits; who has gone meanwhile sends nothing."""
        waiting = [write for write in self._waiting if not write.is_given_up]
        self._waiting = []
        most = self._connection.traits.batch_most if self._is_open else 1
        for writes in parted(waiting, most):
            if len(writes) == 1:
                self._leave_alone(writes)
            else:
                self._start(self._send(writes), writes)

    def _start(self, sending: Coroutine[Any, Any, None], writes: Sequence[Waiting | Told]) -> None:
        task = asyncio.create_task(sending)
        self._sending[task] = writes
        task.add_done_callback(self._sending.pop)

    def _leave_alone(self, writes: Iterable[Waiting | Told]) -> None:
        """Have each write made by itself."""
        for write in writes:
            if isinstance(write, Told):
                self._start(self._send_alone(write), [write])
            else:
                write.tell(None)

    async def _send_alone(self, write: Told) -> None:
        try:
            answer = await write.alone.answer(write.method, write.path, Raw(write.body), prefer=write.prefer)
        except ApiError as error:
            write.fail(error)
        except BaseException as fault:
            write.fail(given_up(f"{write.method} {write.path}", fault))
            raise
        else:
            write.tell(answer)

    async def _send(self, writes: Sequence[Waiting | Told]) -> None:
        try:
            answers, headers = await self._answers(writes)
        except RateLimited as error:
            self._fail(writes, error)
        except Rejected as error:  # of the whole: none of it was done, and each may be taken by itself
            self._rest(error)
            self._leave_alone(writes)
        except ApiError as error:
            if not (error.is_documented and error.status == BUSY):
                self._rest(error)
            self._fail(writes, error)
        except BaseException as fault:
            self._fail(writes, given_up(f"POST {PATH}", fault))
            raise
        else:
            self._rest_s = self._first_rest_s
            for write, raw in zip(writes, answers, strict=True):
                self._settle(write, raw, headers)

    async def _answers(self, writes: Sequence[Write]) -> tuple[list[Any], Mapping[str, str]]:
        """Make the request; return an answer for each write, and the headers of the whole.

        Whether the server is there is told of each write, not of what carries it: after a failure that
        is not sent again for long.
        """
        connection = self._connection
        told = [
            {"method": write.method, "path": f"/{write.path}", "body": Raw(write.body)} for write in writes
        ]
        request = connection.request("POST", PATH, body={"writes": told}, prefer=preferred(writes))
        content, headers = await connection.send(request, read_bytes, connection.limit_s)
        if not content:
            raise EmptyAnswer(f"POST {PATH} was answered by nothing")
        answers = wire.as_mapping(decode(content)).get("answers")
        if not isinstance(answers, list) or len(answers) != len(writes):
            raise TransportError(f"POST {PATH} has no answer for each of {len(writes)} writes")
        return answers, headers

    def _fail(self, writes: Sequence[Waiting | Told], error: ApiError) -> None:
        """Give each write an error of its own."""
        for write in writes:
            own = type(error)(
                str(error), status=error.status, code=error.code, retry_after_s=error.retry_after_s
            )
            self._failed(write, self._name_of(write), own)

    def _settle(self, write: Waiting | Told, raw: Any, headers: Mapping[str, str]) -> None:
        """Give a write its own answer, as a request of its own would have brought it."""
        reach = self._connection.traits.reach
        try:
            answer = understood(lambda: self._name_of(write), wire.as_mapping(raw), headers)
        except ApiError as error:
            self._failed(write, self._name_of(write), error)
            return
        if reach.is_failing:
            reach.answered(self._name_of(write))
        write.tell(answer)

    def _name_of(self, write: Write) -> str:
        """Return how a person is told of a write; most are never named."""
        return self._connection.name_of(write.method, write.path)

    def _failed(self, write: Waiting | Told, what: str, error: ApiError) -> None:
        self._connection.traits.reach.failed(what, error)
        write.fail(error)

    def _rest(self, error: ApiError) -> None:
        """Let writes go alone for a while: one that hangs or is refused holds up no other then."""
        now = asyncio.get_running_loop().time()
        if self._rests_until is not None and now < self._rests_until:  # several were under way
            return
        self._rests_until = now + self._rest_s
        log.info("batch.failed", error=str(error), alone_s=self._rest_s)
        self._rest_s = min(2 * self._rest_s, REST_MOST_S)


def parted(writes: Iterable[Waiting | Told], most: int) -> list[list[Waiting | Told]]:
    """Return writes by the requests that they go in: no more of them, nor more bytes, than one may have."""
    parts: list[list[Waiting | Told]] = []
    size = 0
    for write in writes:
        size += len(write.body)
        if not parts or len(parts[-1]) >= most or size > MOST_BYTES:
            parts.append([])
            size = len(write.body)
        parts[-1].append(write)
    return parts


def preferred(writes: Iterable[Write]) -> str | None:
    """Return what all of them prefer; None where they differ."""
    found = {write.prefer for write in writes}
    return found.pop() if len(found) == 1 else None


def given_up(what: str, fault: BaseException) -> TransportError:
    """Return the error of a request that ended otherwise than by an answer: nobody knows what it did."""
    return TransportError(f"{what} was given up: {type(fault).__name__}")


def understood(name: Callable[[], str], raw: Mapping[str, Any], headers: Mapping[str, str]) -> Answered:
    """Return the object of an answer, and its headers; `name` gives the write's, for an error.

    Raises: the errors of `worker.api.errors`.
    """
    status, own = wire.as_int(raw.get("status")), wire.as_mapping(raw.get("headers"))
    if status is None:
        raise TransportError(f"{name()} has no status in its batch")
    headers = {**headers, **{header.lower(): str(value) for header, value in own.items()}}
    if not 200 <= status < 300:
        raise error_of(name(), status, raw.get("body"), headers)
    if raw.get("body") is None:
        raise EmptyAnswer(f"{name()} was answered by nothing in its batch")
    if (answer := wire.one_of(raw["body"])) is None:
        raise TransportError(f"{name()} answered no object")
    return answer, headers
