"""What the sources of notices bring, in a network namespace that has the clouds' address.

`test_machine_notices_real.py` starts it. Writes one JSON object: by case what each source told, one look
after another, and the requests that came.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec

from tests.unit.machine.metadata_server import AWS, AZURE, GCE, QUIET, Case, serving, taken
from tests.unit.machine.namespace import have_address
from worker.machine.cloud import AWS as AMAZON
from worker.machine.cloud import AZURE as MICROSOFT
from worker.machine.cloud import GCE as GOOGLE
from worker.machine.in_cloud import Gce
from worker.machine.metadata import ADDRESS
from worker.machine.notice_sources import Source, sources_of

CLOUDS: Final = {**GCE, **AWS, **AZURE}
PATHS: Final = [*CLOUDS, *taken(), *QUIET, "/latest/meta-data/events/recommendations/rebalance"]
TAKEN: Final = ("GCE preempted", "AWS spot/instance-action", "Azure scheduledevents")
CHANGE_S: Final = 0.3  # until the cloud changes its mind; the question that waits is sent before or after


class Play(NamedTuple):
    """What is served, what changes between two looks, and which sources look twice."""

    case: Case
    change: Callable[[Case], None] = lambda _: None
    again: tuple[str, ...] = ()


def plays() -> dict[str, Play]:
    """Return the cases by name."""
    quiet = {**CLOUDS, **QUIET}
    others = {"/metadata/scheduledevents": taken("vm_2")["/metadata/scheduledevents"]}
    odd = ("hang", "drip", "giant", "raw", "redirect")
    return {
        "quiet": Play(Case(quiet)),
        "taken": Play(Case(quiet), lambda case: case.replies.update(taken()), TAKEN),
        "withdrawn": Play(Case({**quiet, **taken()}), withdraw, TAKEN),
        "another's": Play(Case({**quiet, **others})),
        "new token": Play(Case(quiet), lambda case: setattr(case, "token", "AQAEother=="), TAKEN[1:2]),
        "403": Play(all_say(403, "<secret>")),
        "404": Play(Case({**GCE, **AWS})),
        "500": Play(all_say(500, "TRUE <secret>")),
        "garbage": Play(all_say(200, "TRUE <secret>")),
        "no flavor": Play(Case({**quiet, **taken()}, flavor="")),
        **{name: Play(Case(quiet, oddity=name)) for name in odd},
    }


def all_say(status: int, body: str) -> Case:
    """Return a case in which every notice is this answer."""
    return Case({**CLOUDS, **{path: (status, body) for path in PATHS if path not in CLOUDS}})


def withdraw(case: Case) -> None:
    """Take back what was told."""
    for path in taken():
        case.replies.pop(path)
    case.replies.update(QUIET)


async def look(play: Play) -> dict[str, Any]:
    """Look once with every source, and with some once more, while something changes."""
    sources = [
        source
        for cloud in (GOOGLE, AMAZON, MICROSOFT)
        for source in sources_of(cloud, Gce(), has_gpus=False, now=lambda: datetime.now(UTC))
    ]
    began = time.monotonic()
    looks = await asyncio.gather(*(source.look() for source in sources))
    told = {source.name: [look] for source, look in zip(sources, looks, strict=True)}
    waiting = [start(source) for source in sources if source.name in play.again and "GCE" in source.name]
    await asyncio.sleep(CHANGE_S if waiting else 0)
    play.change(play.case)
    polled = [start(source) for source in sources if source.name in play.again and "GCE" not in source.name]
    for source, second in zip(
        [one for one in sources if one.name in play.again], [*waiting, *polled], strict=True
    ):
        told[source.name].append(await second)
    took_s = time.monotonic() - began
    return {"told": msgspec.to_builtins(told), "requests": play.case.requests, "took_s": took_s}


def start(source: Source) -> asyncio.Task[Any]:
    """Begin to look."""
    return asyncio.create_task(source.look())


def main() -> None:
    """Play all cases."""
    have_address()
    answers = {}
    for name, play in plays().items():
        with serving(ADDRESS, play.case):
            answers[name] = asyncio.run(look(play))
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
