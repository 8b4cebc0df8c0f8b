"""What the bodies of reports say."""

from __future__ import annotations

from datetime import UTC, datetime

from worker.api.models import Identity
from worker.api.wire import ErrorKind, ResultCode
from worker.executor.executor import UsageEvent
from worker.executor.outcome import Outcome, RunError
from worker.executor.retries import Verdict
from worker.reporting.report import (
    RunState,
    failed_instead,
    is_cut_down,
    reduced,
    terminal_report,
    with_files,
)
from worker.storage.file import StoredFile
from worker.usage.usage import Usage

STARTED = datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC)
STOPPED = datetime(2026, 1, 1, 0, 0, 9, 123456, tzinfo=UTC)
OURS = Identity("pod/a", STARTED)
USAGE = Usage(
    wall_s=8.1, cpu_user_s=4.0, cpu_system_s=1.0, ram_peak_bytes=1024, gpu_allocated_s=0.0, complete=True
)


def test_a_success_says_what_it_brought_and_what_it_cost() -> None:
    """Numbers are numbers, results an object; the handler's own values stand at its top."""
    file = StoredFile(
        name="a.stl", url="file:///x/a.stl", size_bytes=3, sha256="00", content_type="model/stl"
    )
    outcome = Outcome(code=ResultCode.SUCCESS, value={"faces": 12}, usage=USAGE)
    body = with_files(terminal_report(outcome, OURS, STOPPED, 0.3), [file])
    assert body["resultCode"] == "Success"
    assert body["progress"] == 1
    assert (body["startedAt"], body["stoppedAt"]) == ("2026-01-01T00:00:01.000Z", "2026-01-01T00:00:09.123Z")
    assert (body["wallClockTime"], body["CPUTime"], body["GPUTime"], body["RAMUsage"]) == (
        8.1,
        5.0,
        0.0,
        1024,
    )
    assert body["results"]["faces"] == 12
    told = {"name": "a.stl", "url": "file:///x/a.stl", "size": 3, "sha256": "00", "contentType": "model/stl"}
    assert body["results"]["files"] == [told]
    assert body["results"]["usage"]["complete"] is True
    assert "error" not in body


def test_a_success_that_became_a_failure_keeps_what_it_brought() -> None:
    """Its value and its files stand beside the error."""
    body = terminal_report(Outcome(code=ResultCode.SUCCESS, value={"faces": 12}), OURS, STOPPED, 1.0)
    failed = failed_instead(body, RunError(kind=ErrorKind.CANCELLED, message="stopped"))
    assert (failed["resultCode"], failed["error"]) == ("Failed", "cancelled: stopped")
    assert failed["results"]["faces"] == 12
    assert failed["results"]["error"]["kind"] == "cancelled"
    assert body["resultCode"] == "Success"
    assert with_files(body, []) == body


def test_a_failure_says_why_twice() -> None:
    """As text in `error`, structured in `results.error`; unknown figures are left out."""
    failure = RunError(kind=ErrorKind.CRASHED, message="killed by SIGSEGV", signal="SIGSEGV")
    outcome = Outcome(code=ResultCode.FAILED, error=failure, checkpoint={"frame": 7}, log_tail="last words")
    body = terminal_report(outcome, OURS, STOPPED, 0.25)
    assert body["error"] == "crashed: killed by SIGSEGV"
    assert body["results"]["error"]["signal"] == "SIGSEGV"
    assert body["results"]["checkpoint"] == {"frame": 7}
    assert body["results"]["logTail"] == "last words"
    assert body["progress"] == 0.25
    assert "CPUTime" not in body


def test_a_clock_that_went_back_does_not_stop_a_run_before_it_began() -> None:
    """`stoppedAt` is never earlier than `startedAt`."""
    body = terminal_report(Outcome(code=ResultCode.SUCCESS), OURS, datetime(2025, 1, 1, tzinfo=UTC), 1.0)
    assert body["stoppedAt"] == body["startedAt"]


def test_a_refused_body_is_cut_down_to_what_the_reference_documents_then_to_a_note() -> None:
    """The usage survives inside `results`; then the note tells where the whole lies."""
    outcome = Outcome(code=ResultCode.SUCCESS, value={"faces": 12}, usage=USAGE)
    whole = terminal_report(outcome, OURS, STOPPED, 1.0)
    first = reduced(whole, 1, "/state/journal")
    assert "CPUTime" not in first
    assert first["results"]["usage"]["cpuUserSeconds"] == 4.0
    second = reduced(whole, 2, "/state/journal")
    assert list(second["results"]) == ["note"]
    assert "/state/journal" in second["results"]["note"]
    assert second["resultCode"] == "Success"
    assert reduced(whole, 0, "") == whole


def test_a_body_that_is_cut_down_still_tells_the_wait_before_the_next_attempt() -> None:
    """Who claims the task next reads it there; and the rest is known to be on the disk only."""
    failure = RunError(kind=ErrorKind.TIMEOUT, message="x" * 100, retryable=True)
    verdict = Verdict(attempt=1, max_attempts=3, after_s=600.0, reason="attempt 1 of 3, next in 600 s")
    outcome = Outcome(code=ResultCode.FAILED, error=failure, log_tail="last words")
    whole = terminal_report(outcome, OURS, STOPPED, 0.5, retry=verdict)
    cut = reduced(whole, 2, "/state/journal")
    assert cut["results"].keys() == {"note", "retry"}
    assert cut["results"]["retry"]["afterS"] == 600.0
    assert is_cut_down(cut["results"])
    assert not is_cut_down(whole["results"])
    assert not is_cut_down({"retry": whole["results"]["retry"]})


def test_a_run_that_goes_on_tells_its_bill_so_far() -> None:
    """In the fields, and with methods in the results: should nobody tell its end, this is what it cost."""
    state = RunState()
    before = state.report(OURS, {})
    assert not {"wallClockTime", "CPUTime", "RAMUsage"} & before.keys()
    state.note(UsageEvent(Usage(wall_s=2.0, cpu_user_s=1.0, cpu_system_s=0.5, methods={"wall_s": "clock"})))
    body = state.report(OURS, {})
    assert (body["wallClockTime"], body["CPUTime"]) == (2.0, 1.5)
    assert "RAMUsage" not in body  # nobody knows it: null, not 0
    assert body["results"]["usage"]["complete"] is False
    assert body["results"]["usage"]["methods"] == {"wall_s": "clock"}


def test_a_run_that_never_started_has_a_bill_of_reasons() -> None:
    """Null with a reason for every figure."""
    error = RunError(kind=ErrorKind.INTERNAL, message="no")
    body = terminal_report(Outcome(code=ResultCode.FAILED, error=error), OURS, STOPPED, 0.0)
    usage = body["results"]["usage"]
    figures = {name: value for name, value in usage.items() if name.endswith(("Seconds", "Bytes"))}
    assert set(figures.values()) == {None}
    assert len(usage["reasons"]) == len(figures)
    assert not {"wallClockTime", "CPUTime", "RAMUsage", "GPUTime"} & body.keys()
