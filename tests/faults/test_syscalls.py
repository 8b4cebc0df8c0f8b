"""The reading of traces: what counts as durable before it is sent."""

from __future__ import annotations

from collections.abc import Sequence

from tests.faults.syscalls import Call, calls_in, undurable_sends

WRITE = r'7 1.0 pwrite64(5</s/journal/1.seg>, "{\"run_id\":\"r1\",\"stoppedAt\":\"x\"}", 30, 0) = 30'
SYNC = "7 1.1 fdatasync(5</s/journal/1.seg>) = 0"
SYNC_BEGINS = "7 1.1 fdatasync(5</s/journal/1.seg> <unfinished ...>"
SYNC_RETURNS = "7 1.3 <... fdatasync resumed>) = 0"
SOCKET = "9<TCP:[127.0.0.1:1->127.0.0.1:2]>"
SEND = rf'8 1.2 sendto({SOCKET}, "PUT /api/jobs/runs/r1 HTTP/1.1\r\n\r\n{{\"stoppedAt\":\"x\"}}", 60, 0) = 60'
HEAD = rf'8 1.2 sendto({SOCKET}, "PUT /api/jobs/runs/r1 HTTP/1.1\r\n\r\n", 40, 0) = 40'
BODY = rf'8 1.4 writev({SOCKET}, [{{iov_base="{{\"stoppedAt\":\"x\"}}", iov_len=20}}], 1) = 20'
PROGRESS = rf'8 0.5 sendto({SOCKET}, "PUT /api/jobs/runs/r1 HTTP/1.1\r\n\r\n{{\"progress\":1}}", 60, 0) = 60'


def found(*lines: str) -> list[str]:
    """Return the violations of run r1."""
    return undurable_sends(lines, "/s/journal", "r1")


def test_a_report_that_is_synced_before_it_is_sent_is_as_promised() -> None:
    """In one call or in parts, after reports of progress or without."""
    assert found(WRITE, SYNC, SEND) == []
    assert found(PROGRESS, WRITE, SYNC_BEGINS, SYNC_RETURNS, HEAD, BODY) == []
    assert found(WRITE, SYNC, SEND, WRITE, SEND, SYNC) == []  # what is sent again later


def test_a_report_that_is_sent_before_the_sync_returned_is_found() -> None:
    """That it has begun is not enough, nor one of other files or of what was written before."""
    late: Sequence[Sequence[str]] = [
        (WRITE, SEND),
        (WRITE, SEND, SYNC),
        (WRITE, SYNC_BEGINS, SEND, SYNC_RETURNS),
        (WRITE, SYNC_BEGINS, HEAD, SYNC_RETURNS, BODY),
        (SYNC, WRITE, SEND),
        (WRITE, SYNC.replace("1.seg", "2.seg"), SEND),
        (WRITE, SYNC.replace("= 0", "= -1 EIO (Input/output error)"), SEND),
        (WRITE.replace("/s/journal/1.seg", "/s/other"), SYNC, SEND),
        (WRITE.replace("r1", "r2"), SYNC, SEND),
        (SYNC_BEGINS, WRITE.replace("7 ", "6 ", 1), SYNC_RETURNS, SEND),
    ]
    for lines in late:
        assert found(*lines), lines


def test_a_trace_without_the_report_proves_nothing() -> None:
    """A test that looks at the wrong run, or traces the wrong calls, must not pass."""
    for lines in ((), (WRITE, SYNC), (WRITE, SYNC, PROGRESS), (WRITE, SYNC, SEND.replace("r1", "r2"))):
        assert found(*lines) == ["the report was never sent"]


def test_calls_of_several_processes_are_kept_apart() -> None:
    """Each of them has one unfinished call at most; what never returned is left out."""
    lines = ["1 write(3<a>, <unfinished ...>", "2 write(4<b>, <unfinished ...>", "+++ exited with 0 +++"]
    lines += ['1 <... write resumed>"x", 1) = 1', "3 fsync(5<c>) = ? ERESTARTSYS (To be restarted)"]
    first, second = calls_in(lines)
    assert first == Call("write", '3<a>, "x", 1) = 1', 0, 3, 1)
    assert (second.path, second.is_done) == ("c", False)
