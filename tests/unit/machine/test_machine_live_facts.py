"""Facts that a cloud tells late: in virtual time, beside a metadata server that a test speaks for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from random import Random

from structlog.testing import capture_logs

from tests.simulation.loop import run_virtual
from tests.unit.placement.machines import machine
from worker.machine.facts import Fact
from worker.machine.in_cloud import Clouds
from worker.machine.live_facts import RETRY_MAX_S, LiveFacts

LATE = Fact.unknown("GCE metadata did not answer in time (id)")
ZONE = Fact.measured("europe-west4-a", "GCE metadata")
TYPE = Fact.measured("g2-standard-4", "GCE metadata")


class Slow(Clouds):
    """Clouds of which each answer is given: the facts, and whether there may be more."""

    def __init__(self, answers: Sequence[tuple[dict[str, Fact], bool]], *, was_late: bool = True) -> None:
        """Answer so one after another; the last answer stays."""
        super().__init__(Path("/nowhere"), "gce", {})
        self.may_tell_more = was_late
        self.answers = list(answers)
        self.asked_at: list[float] = []

    async def ask(self, limit_s: float) -> dict[str, Fact]:
        """Answer, after as long as it may take."""
        self.asked_at.append(asyncio.get_running_loop().time())
        facts, self.may_tell_more = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        return facts


def completed(clouds: Slow, within_s: float = 1e5) -> LiveFacts:
    """Return what is known after a while."""

    async def main() -> LiveFacts:
        live = LiveFacts(machine(), clouds)
        try:
            async with asyncio.timeout(within_s):
                await live.complete(Random(1))
        except TimeoutError:
            pass
        return live

    return run_virtual(main())


def test_what_comes_late_is_used_and_told_from_then_on() -> None:
    """In claims and in reports; once all is told, nobody is asked any more."""
    clouds = Slow([({"zone": LATE}, True), ({"zone": ZONE, "machineType": LATE}, True),
                   ({"zone": LATE, "machineType": TYPE}, False)])  # fmt: skip
    before = LiveFacts(machine(), clouds).as_body()
    with capture_logs() as logs:
        live = completed(clouds)
    assert (before.get("zone"), live.as_run_fields()["zone"]) == (None, "europe-west4-a")
    assert live.as_run_fields()["machineType"] == live.as_claim()["machineType"] == "g2-standard-4"
    assert set(live.as_claim()) == {name for name, value in live.as_run_fields().items() if value is not None}
    body = live.as_body()
    assert (body["zone"], body["machine"]["zone"]["source"]) == ("europe-west4-a", "GCE metadata")
    assert [one["facts"] for one in logs if one["event"] == "facts.came_late"] == [["zone"], ["machineType"]]
    assert len(clouds.asked_at) == 3


def test_a_cloud_that_stays_away_is_asked_ever_more_rarely() -> None:
    """A day of it costs few questions."""
    clouds = Slow([({"zone": LATE}, True)])
    completed(clouds, within_s=86_400.0)
    assert 86_400.0 / RETRY_MAX_S <= len(clouds.asked_at) <= 2 * 86_400.0 / RETRY_MAX_S + 20


def test_a_cloud_that_has_told_or_refused_is_not_asked_again() -> None:
    """Nor one that the firmware rules out."""
    clouds = Slow([({}, True)], was_late=False)
    completed(clouds)
    assert clouds.asked_at == []
    assert not Clouds(Path("/nowhere"), "auto", {}).may_tell_more
