"""The network between machines and their server: it loses, delays and repeats, and parts them.

It sits behind httpx's transport, so that the real client speaks to the server.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from enum import Enum
from random import Random
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import parse_qsl

import httpx
import msgspec

from worker.api.wire import BATCH_HEADER, BRIEFLY

__all__ = ["FAULTS", "LATE_S", "PUNCTUAL", "QUICK", "Carried", "FaultyNetwork", "Link", "Reply"]

PROXY_SAYS: Final = {"502": 502, "404 of an ingress": 404, "a page of a proxy": 200, "408": 408}
PUNCTUAL: Final = ("lost", "answer lost", *PROXY_SAYS)
QUICK: Final = (*PUNCTUAL, "late", "twice")  # whoever asks knows soon
FAULTS: Final = (*QUICK, "answer late")
BATCH: Final = "/api/batch"
OFFERS: Final = "/api/offers"
OFFER_LOOK_S: Final = 0.05
UNSEEN: Final = 0.5  # of offers that are given up are answered all the same
BRIEF: Final = ("id", "podId", "startedAt", "stoppedAt")  # of a run, where no more is asked for
LATE_S: Final = 20.0  # at most, for a request that comes late or again
SOON_S: Final = 0.05  # at most, for one whose sender does not wait for it any more
ANSWER_S: Final = 40.0  # at most, for an answer that is late: longer than an agent waits for it


class Server(Protocol):
    """What answers."""

    retry_after_s: int
    batch_most: int

    def handle(self, method: str, path: str, query: dict[str, str], body: dict[str, Any]) -> tuple[int, Any]:
        """Answer one request."""
        ...

    def headers(self, value: Any) -> dict[str, str]:
        """Return what an answer says beside its body."""
        ...

    def has_for_offer(self) -> bool:
        """Tell whether an offer would be answered at once."""
        ...


class Link(Enum):
    """How one machine reaches the server."""

    GOOD = "good"
    CUT = "cut"  # nothing gets through
    MUTE = "mute"  # requests arrive, answers do not


def is_offer(request: httpx.Request) -> bool:
    """Tell whether a request offers a run."""
    return request.url.path == OFFERS


def wait_s_of(request: httpx.Request) -> float:
    """Return for how long a request may be held."""
    return float(request.headers.get("prefer", "").partition("wait=")[2] or 0.0)


class Raw(NamedTuple):
    """Headers, as they came."""

    raw: list[tuple[bytes, bytes]]


class Reply:
    """What our client reads of an `httpx.Response`, which takes four times as long to make."""

    def __init__(self, status: int, value: Any, headers: Mapping[str, str]) -> None:
        """Answer with JSON."""
        self.status_code = status
        self.headers = Raw([(name.encode(), text.encode()) for name, text in headers.items()])
        self.stream = httpx.ByteStream(msgspec.json.encode(value))

    async def aclose(self) -> None:
        """Have nothing to close."""


Carried = Reply | httpx.Response


class FaultyNetwork:
    """Bring requests to the server; lose them, or their answers, delay them, bring them twice."""

    def __init__(self, server: Server, random: Random, fault_ratio: float = 0.0) -> None:
        """`fault_ratio` is the share of requests to which something happens, while `is_faulty`."""
        self.server, self.random, self.fault_ratio = server, random, fault_ratio
        self.is_faulty = True
        self.faults: tuple[str, ...] = FAULTS
        self.is_down = False  # nothing gets through
        self.links: dict[str, Link] = {}  # of machines that do not reach the server well
        self.sent: Counter[str] = Counter()  # requests by machine
        self.batches = 0  # of them those that carried several writes, and arrived
        self.old_ratio = 0.0  # of requests that come to a replica which knows none of these
        self.empties_brief = False  # a proxy makes nothing of answers to who asks for little
        self.on_served: Callable[[str, str, int], None] = lambda method, path, status: None
        self._late: set[asyncio.Task[None]] = set()

    async def carry(self, sender: str, request: httpx.Request) -> Carried:
        """Carry one request of a machine."""
        self.sent[sender] += 1
        try:
            await self._pass()
        except asyncio.CancelledError:  # nobody waits for it any more, but it is on its way
            if self._link(sender) is not Link.CUT:
                self._later(request, 0.0, SOON_S)
            raise
        fault = self.random.random() < self.fault_ratio and self.is_faulty
        what = self.random.choice(self.faults) if fault else "fine"
        if what == "lost" or self._link(sender) is Link.CUT:
            raise httpx.ReadTimeout("lost")
        if what in PROXY_SAYS:
            return httpx.Response(PROXY_SAYS[what], text="<html>a proxy</html>")
        if what == "late":
            self._later(request)
            raise httpx.ReadTimeout("late")
        if what == "twice":
            self._later(request)
        reply = await self._held(request) if is_offer(request) else self._bring(request)
        if what == "answer lost":
            raise httpx.RemoteProtocolError("answer lost")
        if what == "answer late":
            await asyncio.sleep(self.random.uniform(0.0, ANSWER_S))
        await self._pass()
        if self._link(sender) is not Link.GOOD:
            raise httpx.RemoteProtocolError("parted")
        return reply

    async def _held(self, request: httpx.Request) -> Carried:
        """Hold an offer until there is a task; of who gives it up the server may know too late."""
        began_s = asyncio.get_running_loop().time()
        try:
            while not self.server.has_for_offer():
                await asyncio.sleep(OFFER_LOOK_S)
                waited_s = asyncio.get_running_loop().time() - began_s
                if waited_s >= wait_s_of(request):
                    break
        except asyncio.CancelledError:
            if self.random.random() < UNSEEN:
                self._later(request, 0.0, SOON_S)
            raise
        return self._bring(request, waited_s=asyncio.get_running_loop().time() - began_s)

    def _link(self, sender: str) -> Link:
        return Link.CUT if self.is_down else self.links.get(sender, Link.GOOD)

    async def _pass(self) -> None:
        await asyncio.sleep(self.random.uniform(0.001, 0.02))

    def _later(self, request: httpx.Request, least_s: float = 0.1, most_s: float = LATE_S) -> None:
        async def arrive() -> None:
            await asyncio.sleep(self.random.uniform(least_s, most_s))
            self._bring(request)

        task = asyncio.get_running_loop().create_task(arrive())
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    def _bring(self, request: httpx.Request, waited_s: float = 0.0) -> Reply:
        body = msgspec.json.decode(request.content) if request.content else {}
        url = request.url
        query = dict(parse_qsl(url.query.decode())) if url.query else {}
        if is_offer(request) and wait_s_of(request):
            query |= {"wait": "1", "waited": f"{waited_s:.3f}"}
        is_old = self.old_ratio > 0.0 and self.random.random() < self.old_ratio
        is_brief = request.headers.get("prefer") == BRIEFLY and not is_old
        if is_brief and not self.server.batch_most:  # who knows this from elsewhere answers so
            return Reply(204, None, {})
        if url.path == BATCH and self.server.batch_most and not is_old:
            reply = self._bring_all(body["writes"], is_brief=is_brief)
        else:
            status, value, headers = self._serve(request.method, url.path, query, body, is_brief=is_brief)
            if is_old:
                headers.pop(BATCH_HEADER, None)
            reply = Reply(status, value, headers)
        if is_brief and self.empties_brief:
            reply.stream = httpx.ByteStream(b"")
        return reply

    def _serve(
        self, method: str, path: str, query: dict[str, str], body: dict[str, Any], *, is_brief: bool
    ) -> tuple[int, Any, dict[str, str]]:
        status, value = self.server.handle(method, path, query, body)
        self.on_served(method, path, status)
        headers = dict(self.server.headers(value))
        if status == 429:
            headers["retry-after"] = str(self.server.retry_after_s)
        if is_brief and status == 200 and isinstance(value, dict) and method != "GET":
            return (
                status,
                {name: value.get(name) for name in BRIEF},
                headers | {"Preference-Applied": BRIEFLY},
            )
        return status, value, headers

    def _bring_all(self, writes: list[dict[str, Any]], *, is_brief: bool) -> Reply:
        """Bring what one request carries, in any order."""
        self.batches += 1
        answers: dict[int, Any] = {}
        for at in self.random.sample(range(len(writes)), len(writes)):
            write = writes[at]
            status, value, headers = self._serve(
                write["method"], write["path"], {}, write["body"], is_brief=is_brief
            )
            answers[at] = {"status": status, "headers": headers, "body": value}
        told = {"answers": [answers[at] for at in range(len(writes))]}
        return Reply(200, told, self.server.headers(told))
