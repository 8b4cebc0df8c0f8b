"""The conformance report: each promise is kept by a good handler, and missed at a bad one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.kit import good_and_bad
from worker.testing import ChildRunner, HandlerReport, Verdict, check_handler, conformance
from worker.testing.trial import Trial

RUNS = 20  # enough for a slope, and quick
GROWTH_BYTES = 128 * 1024  # few runs see a first page of this and that; the hoarder keeps four times as much
LONGER_STEPS = (200, 2000)  # the second where the machine was too busy to stop a run in two seconds
SECRET = "correct-horse-battery"


def check(handler: Callable[..., Any], *args: Any, **kwargs: Any) -> HandlerReport:
    """Check with few runs."""
    return check_handler(handler, *args, **{"runs": RUNS, "growth_bytes": GROWTH_BYTES, **kwargs})


def verdicts(report: HandlerReport) -> dict[str, Verdict]:
    """Return the verdict of each check."""
    return {one.name: one.verdict for one in report.checks}


def long_check(handler: Callable[..., Any], given: dict[str, Any]) -> HandlerReport:
    """Check with runs that are long enough for this machine to be stopped and killed."""
    report = HandlerReport("", ())
    for steps in LONGER_STEPS:
        report = check(handler, {**given, "steps": 1}, long_parameters={**given, "steps": steps})
        if not {"stops when asked", "survives SIGKILL"} & {one.name for one in report.not_shown}:
            break
    return report


def details(report: HandlerReport, name: str) -> str:
    """Return what a check says."""
    return next(one.details for one in report.checks if one.name == name)


def test_a_good_handler_keeps_every_promise() -> None:
    """All six are shown: with a secret, a checkpoint and a run that lasts."""
    report = long_check(good_and_bad.good, {"password": SECRET})
    report.assert_ok(all_shown=True)
    assert report.is_ok
    assert 'killed after its checkpoint {"done": ' in details(report, "survives SIGKILL")
    assert "it went on from there to the same output" in details(report, "survives SIGKILL")
    assert len(str(report).splitlines()) == 7
    assert report.as_json()["ok"] is True


def test_the_runs_for_memory_keep_no_artifacts(tmp_path: Path) -> None:
    """Their files are removed one after another; those of the few other runs stay, to be searched."""
    report = check(good_and_bad.good, {"steps": 1}, folder=tmp_path)
    assert verdicts(report)["keeps its memory"] is Verdict.OK
    assert 2 <= len(list((tmp_path / "artifacts").iterdir())) < RUNS / 2


def test_a_handler_that_fails_is_not_looked_at_further() -> None:
    """Its error is the report."""
    report = check(good_and_bad.failing)
    assert verdicts(report) == {"runs": Verdict.FAILED, "shows no secret": Verdict.NOT_SHOWN}
    assert "handler_error: the model is missing" in str(report)
    with pytest.raises(AssertionError, match="the model is missing"):
        report.assert_ok()


def test_an_output_that_differs_is_missed_unless_it_must() -> None:
    """The key is named, and can be left out."""
    report = check(good_and_bad.chance)
    assert verdicts(report)["repeats its output"] is Verdict.FAILED
    assert "result.at: " in details(report, "repeats its output")
    check(good_and_bad.chance, ignore=["at"]).assert_ok()


def test_a_handler_that_does_not_stop_is_missed(tmp_path: Path) -> None:
    """It is killed at the end of its grace, and told what to do."""
    with ChildRunner(good_and_bad.deaf, tmp_path) as runner:
        trial = Trial(runner, {}, None, frozenset(), grace_s=0.2)
        found = conformance.it_stops_when_asked(trial)
    assert found.verdict is Verdict.FAILED
    assert "it went on for 0.2 s and was killed: call ctx.check() in loops" in found.details


def test_a_handler_that_goes_on_wrongly_is_missed() -> None:
    """The checkpoint of which it lost a part is named, and what differs."""
    report = long_check(good_and_bad.forgetful, {})
    assert verdicts(report)["survives SIGKILL"] is Verdict.FAILED
    assert "the next attempt has another output" in details(report, "survives SIGKILL")
    assert "result.steps: " in details(report, "survives SIGKILL")


def test_a_handler_that_keeps_memory_is_missed() -> None:
    """By its slope; the bound is the author's."""
    report = check(good_and_bad.hoarder)
    assert verdicts(report)["keeps its memory"] is Verdict.FAILED
    assert "KiB a run over 20 runs" in details(report, "keeps its memory")
    check(good_and_bad.hoarder, growth_bytes=1024 * 1024).assert_ok()


@pytest.mark.parametrize(("how", "where"), [
    ("plain", "line 1 (stdout)"), ("hex", "line 1 (stdout)"), ("file", "artifact notes.txt"),
])  # fmt: skip
def test_a_handler_that_tells_a_secret_is_missed(how: str, where: str) -> None:
    """The place is named, and the secret is not in the report."""
    report = check(good_and_bad.gossip, {"password": SECRET, "how": how})
    assert verdicts(report)["shows no secret"] is Verdict.FAILED
    assert where in details(report, "shows no secret")
    assert SECRET not in str(report)
    assert SECRET.encode().hex() not in str(report)


def test_what_cannot_be_seen_is_said_and_no_failure() -> None:
    """Each run of an isolated handler has a process of its own; it is too quick to be stopped."""
    report = check(good_and_bad.stray)
    report.assert_ok()
    assert verdicts(report)["keeps its memory"] is Verdict.NOT_SHOWN
    with pytest.raises(AssertionError, match="isolation='fresh'"):
        report.assert_ok(all_shown=True)


def test_what_no_child_finds_is_refused() -> None:
    """Functions that are no handlers, or that stand inside of others; too few runs."""
    from worker import Context, handler

    @handler()
    def inner(ctx: Context) -> None:
        """Stand inside of a function."""

    with pytest.raises(TypeError, match="move it to its module's top level"):
        check(inner)
    with pytest.raises(TypeError, match="not decorated with @handler"):
        check(verdicts)
    with pytest.raises(ValueError, match="20 or more"):
        check(good_and_bad.good, runs=5)
