"""Checkpoints that are told on the way: the newest, without secrets, not too often."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

from msgspec import Raw

from tests.simulation.loop import VirtualClock, run_virtual
from worker.executor.executor import CheckpointEvent, Event
from worker.executor.frames import ToldCheckpoint, ToldSecret
from worker.executor.hearing import Hearing
from worker.executor.link import ChildLink
from worker.executor.output import OutputRules
from worker.redaction import Redactor


class Link:
    """The part of a child's link that hearing needs."""

    def __init__(self) -> None:
        """Know no secret."""
        self.secrets: dict[str, None] = {}

    def keep_secret(self, value: str) -> bool:
        """Remember a secret."""
        self.secrets[value] = None
        return True


def hearing(events: list[Event]) -> Hearing:
    """Return what hears one run."""
    return Hearing(
        cast(ChildLink, Link()),
        "run-1",
        events.append,
        clock=VirtualClock(),
        redactor=Redactor(),
        output="/nowhere",
        rules=OutputRules(keep="none"),
    )


def told(value: Any) -> ToldCheckpoint:
    """Return a frame that saves a token."""
    return ToldCheckpoint(Raw(json.dumps(value).encode()))


def test_the_newest_checkpoint_is_told_once_but_not_too_often() -> None:
    """The first at once, then one a second, the newest also where no other follows; secrets are taken out."""

    async def main() -> list[Any]:
        events: list[Event] = []
        heard = hearing(events)
        heard.take(ToldSecret("hush-hush-hush"))
        for at in (1, 2, 3):
            heard.take(told({"at": at, "key": "hush-hush-hush"}))
        await asyncio.sleep(1.0)
        for _ in range(3):
            heard.tell_checkpoint()
        heard.take(told({"at": 4}))
        await asyncio.sleep(1.0)
        heard.take(told({"at": 5}))
        assert heard.checkpoint == {"at": 5}
        values = [event.value for event in events if isinstance(event, CheckpointEvent)]
        assert all("hush" not in value.get("key", "") for value in values)
        return [value["at"] for value in values]

    assert run_virtual(main()) == [1, 3, 5]


def test_a_run_that_is_to_stop_tells_its_checkpoint_at_once() -> None:
    """There may be no later: the machine may be gone within seconds."""

    async def main() -> list[Any]:
        events: list[Event] = []
        heard = hearing(events)
        heard.take(told(1))
        heard.take(told(2))
        heard.tell_checkpoint(is_urgent=True)
        heard.tell_checkpoint(is_urgent=True)
        return [event.value for event in events if isinstance(event, CheckpointEvent)]

    assert run_virtual(main()) == [1, 2]


def test_large_checkpoints_are_told_less_often() -> None:
    """Each is searched for secrets, and stands in every report."""

    async def main() -> int:
        events: list[Event] = []
        heard = hearing(events)
        for _ in range(20):
            heard.take(told("x" * 128 * 1024))
            await asyncio.sleep(1.0)
        return len(events)

    assert run_virtual(main()) == 4


def test_a_checkpoint_can_be_taken_back() -> None:
    """A handler that saves None wants the next attempt to begin anew."""

    async def main() -> list[Any]:
        events: list[Event] = []
        heard = hearing(events)
        heard.take(told({"at": 1}))
        await asyncio.sleep(1.0)
        heard.take(told(None))
        return [event.value for event in events if isinstance(event, CheckpointEvent)]

    assert run_virtual(main()) == [{"at": 1}, None]
