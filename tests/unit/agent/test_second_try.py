"""Which outcomes a person may have sent again."""

from __future__ import annotations

from typing import Any

import pytest

from worker.agent.second_try import chance_of
from worker.api.models import Run
from worker.reporting.records import Entry

STARTED = "2026-01-02T03:04:05.678Z"
REPORT: dict[str, Any] = {
    "startedAt": STARTED,
    "stoppedAt": "2026-01-02T03:05:00.000Z",
    "resultCode": "Success",
    "results": {"n": 1},
}
PROBED = "2026-01-02T03:04:06.000Z"


def entry(**fields: Any) -> Entry:
    """Return an entry with an outcome."""
    given = {"terminal": REPORT, "marks": ("fenced",)} | fields
    return Entry(run_id="r", task_id="t", job_id="j", pod_id="pod/me", started_at=STARTED, **given)


def run(id_: str = "r", at: int = 0, **fields: Any) -> Run:
    """Return a run as the server shows it; by default ours, and going."""
    ours = {"podId": "pod/me", "startedAt": STARTED, "createdAt": f"2026-01-02T03:04:{at:02d}.000Z"}
    read = Run.read({"id": id_, "taskId": "t", **ours, **fields})
    assert read is not None
    return read


LOST: dict[str, Any] = {
    "stoppedAt": "2026-01-02T03:09:00.000Z",
    "resultCode": "Failed",
    "error": "worker_lost: silent",
}
PLACEHOLDER: dict[str, Any] = {"podId": None, "startedAt": None}


def test_an_outcome_of_a_run_that_is_ours_and_going_is_sent() -> None:
    """Its server took no form of it before; somebody has mended that."""
    assert chance_of(entry(marks=("refused",)), run(), [run()]).may


@pytest.mark.parametrize(
    "taken",
    [{"podId": "pod/other"}, {"startedAt": "2026-01-02T03:04:05.679Z"}, {"podId": "pod/other", **LOST}],
)
def test_never_to_a_run_of_somebody_else(taken: dict[str, Any]) -> None:
    """Going or stopped: what counts is the other one's report."""
    chance = chance_of(entry(), run(**taken), [run(**taken)])
    assert not chance.may
    assert "another's" in chance.why


def test_a_run_under_our_probes_identity_is_ours() -> None:
    """The journal knows it by a mark."""
    probed = run(podId="pod/me/probe", startedAt=PROBED)
    report = REPORT | {"startedAt": PROBED}
    assert chance_of(
        entry(marks=(f"probe|{PROBED}|pod/me/probe", "refused"), terminal=report), probed, []
    ).may


def test_a_run_that_is_gone_takes_nothing() -> None:
    """There is nothing to report to."""
    assert not chance_of(entry(), None, []).may


def test_a_run_that_somebody_stopped_stays_as_it_is() -> None:
    """As after a cancel: what a person decided is not undone by an old result."""
    stopped = run(stoppedAt="2026-01-02T03:09:00.000Z", resultCode="Failed", error="cancelled: by Ada")
    chance = chance_of(entry(), stopped, [stopped])
    assert not chance.may
    assert "cancelled: by Ada" in chance.why


def test_a_run_given_up_as_lost_takes_it_as_long_as_nobody_started_the_task() -> None:
    """A placeholder that waits changes nothing; a run that started after it does, also one that is over."""
    lost = run(**LOST)
    assert chance_of(entry(), lost, [lost]).may
    assert chance_of(entry(), lost, [lost, run("p", 7, **PLACEHOLDER)]).may
    again = run("b", 9, podId="pod/other", startedAt="2026-01-02T04:00:00.000Z")
    assert not chance_of(entry(), lost, [lost, run("p", 7, **PLACEHOLDER), again]).may


def test_an_outcome_that_the_server_has_without_its_results_may_be_sent_whole() -> None:
    """The run is ours, and so is what stands there."""
    told = run(**{**REPORT, "results": {"note": "kept elsewhere"}})
    assert chance_of(entry(marks=("reduced",)), told, [told]).may


def test_a_run_without_an_outcome_has_nothing_to_send() -> None:
    """The next start of its agent closes it."""
    assert not chance_of(entry(terminal=None), run(), [run()]).may
