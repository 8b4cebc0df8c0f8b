"""Checkpoints that are told on the way: only of a run that is to stop, without secrets, not too often."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
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
        output=Path("/nowhere"),
        rules=OutputRules(keep="none"),
    )


def told(value: Any) -> ToldCheckpoint:
    """Return a frame that saves a token."""
    return ToldCheckpoint(Raw(json.dumps(value).encode()))


def test_a_checkpoint_is_told_when_the_run_is_to_stop_and_not_before() -> None:
    """The one so far at once, then at most one a second; secrets are taken out."""

    async def main() -> list[Any]:
        events: list[Event] = []
        heard = hearing(events)
        heard.take(ToldSecret("hush-hush-hush"))
        heard.take(told({"at": 1, "key": "hush-hush-hush"}))
        assert events == []
        heard.tell_checkpoints()
        heard.tell_checkpoints()
        for at in (2, 3):
            heard.take(told({"at": at}))
        await asyncio.sleep(1.0)
        for at in (4, 5):
            heard.take(told({"at": at}))
        assert heard.checkpoint == {"at": 5}
        return [event.value for event in events if isinstance(event, CheckpointEvent)]

    first, second = run_virtual(main())
    assert first["at"] == 1
    assert "hush" not in first["key"]
    assert second == {"at": 4}


def test_a_run_without_a_checkpoint_tells_its_first_one_when_it_comes() -> None:
    """A handler saves when it is told to stop."""

    async def main() -> list[Event]:
        events: list[Event] = []
        heard = hearing(events)
        heard.tell_checkpoints()
        assert events == []
        await asyncio.sleep(0.1)
        heard.take(told([1, 2]))
        return events

    assert run_virtual(main()) == [CheckpointEvent([1, 2])]
