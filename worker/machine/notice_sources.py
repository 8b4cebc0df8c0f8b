"""Where the clouds tell of the end of a machine: sources that are asked again and again."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Final, Protocol

from worker.machine.cloud import AWS, AZURE, GCE
from worker.machine.in_cloud import AWS_TOKEN_HEADER, Gce, ask_aws_token
from worker.machine.metadata import Answer, ask
from worker.machine.notices import (
    Look,
    read_azure_events,
    read_azure_name,
    read_gce_maintenance,
    read_gce_preempted,
    read_rebalance,
    read_spot_action,
)

__all__ = ["Source", "sources_of"]

LIMIT_S: Final = 5.0  # of a question that is answered at once
GCE_HANG_S: Final = 60  # how long GCE is asked to hold a question until the value changes
GCE_MARGIN_S: Final = 10.0  # for the answer after that
GCE_EVERY_S: Final = 1.0  # at least, between two questions: should one not be held
GCE_POLL_S: Final = 5.0  # where an answer has no etag, so that none can be held
AWS_EVERY_S: Final = 5.0  # as AWS advises
AWS_TOKEN_TTL_S: Final = 21_600  # the longest that there is
AZURE_EVERY_S: Final = 2.0  # of at least 30; Azure advises 1
AZURE_FIRST_LIMIT_S: Final = 150.0  # the first question turns the events on, which takes up to two minutes
AZURE_LIMIT_S: Final = 10.0
AZURE_HEADERS: Final = {"Metadata": "true"}
AZURE_NAME: Final = "/metadata/instance/compute?api-version=2021-02-01&format=json"
AZURE_EVENTS: Final = "/metadata/scheduledevents?api-version=2020-07-01"
ETAG: Final = re.compile(r"[0-9A-Za-z]{1,64}")  # goes into a question
Now = Callable[[], datetime]


class Source(Protocol):
    """One thing that a cloud tells."""

    name: str

    @property
    def every_s(self) -> float:
        """How long to wait after a good answer, in seconds."""
        ...

    async def look(self) -> Look:
        """Ask once; bounded in time, and free to cancel."""
        ...


def sources_of(cloud: str, gce: Gce, *, has_gpus: bool, now: Now) -> list[Source]:
    """Return what one cloud tells; `now` is the time of day, where an answer has none."""
    if cloud == GCE:
        maintenance = GceValue(
            gce, "maintenance-event", lambda answer: read_gce_maintenance(answer, has_gpus=has_gpus)
        )
        return [GceValue(gce, "preempted", read_gce_preempted), maintenance]
    if cloud == AWS:
        token = AwsToken()
        return [
            AwsValue(token, "spot/instance-action", lambda answer: read_spot_action(answer, now())),
            AwsValue(token, "events/recommendations/rebalance", read_rebalance),
        ]
    return [AzureEvents(now)]


class GceValue:
    """A value of GCE: asked for once, then with a question that is held until it is another one."""

    def __init__(self, gce: Gce, path: str, read: Callable[[Answer], Look]) -> None:
        """`path` is below `instance/`."""
        self.name = f"{GCE} {path}"
        self._gce = gce
        self._path = path
        self._read = read
        self._etag = ""

    @property
    def every_s(self) -> float:
        """A moment; longer where no question can be held."""
        return GCE_EVERY_S if self._etag else GCE_POLL_S

    async def look(self) -> Look:
        """Ask, for as long as it takes until the value is another one."""
        query, limit_s = "", LIMIT_S
        if self._etag:
            query = f"?wait_for_change=true&last_etag={self._etag}&timeout_sec={GCE_HANG_S}"
            limit_s = GCE_HANG_S + GCE_MARGIN_S
        answer = await self._gce.ask(self._path + query, limit_s=limit_s)
        look = self._read(answer)
        self._etag = answer.etag if not look.problem and ETAG.fullmatch(answer.etag) else ""
        return look


class AwsToken:
    """The token that every question to AWS carries (IMDSv2)."""

    def __init__(self) -> None:
        """Have none yet."""
        self._text = ""

    async def ask(self, path: str) -> Answer:
        """Ask below `/latest/meta-data/`; a token that is refused is replaced, once."""
        answer = await self._ask(path)
        if answer.status != 401:
            return answer
        self._text = ""
        return await self._ask(path)

    async def _ask(self, path: str) -> Answer:
        if not self._text:
            answer = await ask_aws_token(AWS_TOKEN_TTL_S, limit_s=LIMIT_S)
            if answer.problem:
                return Answer(problem=f"{answer.problem} when asked for a token")
            self._text = answer.body.decode()
        return await ask("GET", f"/latest/meta-data/{path}", {AWS_TOKEN_HEADER: self._text}, limit_s=LIMIT_S)


class AwsValue:
    """A value of AWS, polled."""

    every_s = AWS_EVERY_S

    def __init__(self, token: AwsToken, path: str, read: Callable[[Answer], Look]) -> None:
        """`path` is below `/latest/meta-data/`."""
        self.name = f"{AWS} {path}"
        self._token = token
        self._path = path
        self._read = read

    async def look(self) -> Look:
        """Ask once, with a token."""
        return self._read(await self._token.ask(self._path))


class AzureEvents:
    """The scheduled events of Azure, polled; those of other machines in the same set are listed, too."""

    every_s = AZURE_EVERY_S

    def __init__(self, now: Now) -> None:
        """Know no name yet."""
        self.name = f"{AZURE} scheduledevents"
        self._now = now
        self._machine = ""
        self._limit_s = AZURE_FIRST_LIMIT_S

    async def look(self) -> Look:
        """Ask for the machine's name, where it is not known yet, then for the events."""
        if not self._machine:
            answer = await ask("GET", AZURE_NAME, AZURE_HEADERS, limit_s=LIMIT_S)
            self._machine, problem = read_azure_name(answer)
            if problem:
                return Look(problem=problem)
        answer = await ask("GET", AZURE_EVENTS, AZURE_HEADERS, limit_s=self._limit_s)
        look = read_azure_events(answer, self._machine, self._now())
        if not look.problem:
            self._limit_s = AZURE_LIMIT_S
        return look
