"""What evidence means: a table, without processes."""

from typing import Any

import pytest
from msgspec import Raw

from worker.api.wire import ErrorKind, ResultCode
from worker.executor.ends import classify
from worker.executor.evidence import Evidence, Exit, Overrun, StopReason
from worker.executor.frames import Ended, NotLoaded
from worker.usage.rusage import Rusage

RUSAGE = Rusage(0.1, 0.0, 20_000)
CANCEL = StopReason(ErrorKind.CANCELLED, "its job was cancelled")
LIMIT = StopReason(ErrorKind.TIMEOUT, "the run took longer than 3 s")
STALL = StopReason(ErrorKind.NO_PROGRESS, "the run told no progress for 2 s")
DRAIN = StopReason(ErrorKind.DRAINED, "the agent stops")


def ended(how: str, **values: Any) -> Ended:
    """Return a receipt."""
    return Ended("run", how, **values)


def exited(status: int, oom_kills: int | None = None, peak: int | None = None) -> Exit:
    """Return the exit that a status of wait4 tells."""
    return Exit.read(status, RUSAGE, oom_kills, peak)


MIB = 1024**2
ABOVE = Overrun(
    why="memory", limit_bytes=100 * MIB, used_bytes=150 * MIB, pid=77, pid_bytes=140 * MIB, name="ffmpeg"
)
FULL = Overrun(
    why="pool", limit_bytes=1000 * MIB, used_bytes=700 * MIB, pid=78, pid_bytes=700 * MIB, name="python"
)
LATE = Overrun(why="deadline")


@pytest.mark.parametrize(
    "seen",
    [
        Evidence(ended=ended("returned", value=Raw(b'{"a":1}'))),
        Evidence(ended=ended("returned", value=Raw(b'{"a":1}')), exit=exited(9), is_killed=True),
        Evidence(ended=ended("returned", value=Raw(b'{"a":1}')), exit=exited(9), overrun=ABOVE),
        Evidence(ended=ended("returned", value=Raw(b'{"a":1}')), exit=exited(9, oom_kills=1)),
        Evidence(
            ended=ended("returned", value=Raw(b'{"a":1}'), is_stop_seen=True), stop=CANCEL, exit=exited(9)
        ),
        Evidence(
            ended=ended("returned", value=Raw(b'{"a":1}')), stop=LIMIT, channel_error="broken afterwards"
        ),
    ],
)
def test_a_receipt_of_success_wins_over_everything(seen: Evidence) -> None:
    """What is finished is not lost, whatever was asked or happened afterwards."""
    end = classify(seen)
    assert (end.code, end.value, end.error) == (ResultCode.SUCCESS, {"a": 1}, None)


@pytest.mark.parametrize(
    ("seen", "kind", "retryable", "words"),
    [
        (Evidence(ended=ended("fail", message="no camera")), "handler_error", False, "no camera"),
        (Evidence(ended=ended("retry", message="busy")), "handler_error", True, "busy"),
        (Evidence(ended=ended("raised", message="ValueError: x")), "handler_error", False, "ValueError"),
        (Evidence(ended=ended("not_a_result", message="result.a")), "handler_error", False, "result.a"),
        (Evidence(ended=ended("invalid_parameters", message="a")), "invalid_parameters", False, "a"),
        (Evidence(not_loaded=NotLoaded("no module x")), "handler_error", True, "no module x"),
        (
            Evidence(not_loaded=NotLoaded("no module x"), exit=exited(256)),
            "handler_error",
            True,
            "no module x",
        ),
        (Evidence(spawn_error="no memory"), "internal", True, "no memory"),
        (Evidence(exit=exited(0)), "crashed", True, "exited with code 0 without a result"),
        (Evidence(exit=exited(3 << 8)), "crashed", True, "code 3"),
        (Evidence(exit=exited(11)), "crashed", True, "SIGSEGV"),
        (Evidence(exit=exited(9)), "crashed", True, "from outside"),
        (Evidence(exit=exited(40)), "crashed", True, "signal 40"),
        (Evidence(channel_error="nonsense", exit=exited(9), is_killed=True), "crashed", True, "nonsense"),
        (Evidence(stop=CANCEL, exit=exited(9), is_killed=True), "cancelled", False, "was killed"),
        (Evidence(stop=LIMIT, exit=exited(9), is_killed=True), "timeout", False, "longer than 3 s"),
        (Evidence(stop=DRAIN, exit=exited(15)), "drained", True, "the agent stops"),
        (Evidence(stop=STALL, exit=exited(9), is_killed=True), "no_progress", True, "no progress for 2 s"),
        (Evidence(exit=exited(137 << 8)), "crashed", True, "code 137"),
        (Evidence(exit=exited(137 << 8), pool_oom_kills=1), "crashed", True, "code 137"),
        (Evidence(exit=exited(9), pool_oom_kills=0), "crashed", True, "from outside"),
        (Evidence(exit=exited(11), pool_oom_kills=1), "crashed", True, "SIGSEGV"),
        (
            Evidence(exit=exited(9), pool_oom_kills=1),
            "out_of_memory",
            True,
            "the kernel killed a process of the run",
        ),
        (
            Evidence(exit=exited(9, oom_kills=2)),
            "out_of_memory",
            True,
            "the kernel killed 2 processes of the run",
        ),
        (Evidence(exit=exited(3 << 8, oom_kills=1)), "out_of_memory", True, "exited with code 3"),
        (
            Evidence(exit=exited(9, oom_kills=1), memory_bytes=100 * MIB),
            "out_of_memory",
            False,
            "for want of memory, above its limit of 100 MiB; the handler's process was killed by SIGKILL",
        ),
        (
            Evidence(
                overrun=Overrun(why="kernel"), exit=exited(9, oom_kills=1, peak=90 * MIB), is_killed=True
            ),
            "out_of_memory",
            True,
            "the kernel killed a process of the run for want of memory (peak with page cache: 90 MiB)",
        ),
        (Evidence(exit=exited(9, oom_kills=0)), "crashed", True, "from outside"),
        (
            Evidence(ended=ended("raised", message="CalledProcessError: -9"), exit=exited(9, oom_kills=1)),
            "handler_error",
            False,
            "CalledProcessError: -9 (the kernel killed a process of the run for want of memory while it ran)",
        ),
        (
            Evidence(overrun=ABOVE, exit=exited(9), is_killed=True),
            "out_of_memory",
            False,
            "used 150 MiB of memory, more than its limit of 100 MiB, and was killed; most of it, 140 MiB, was"
            " in process 77 (ffmpeg)",
        ),
        (Evidence(overrun=FULL, exit=exited(9), is_killed=True), "out_of_memory", True, "container's memory"),
        (Evidence(overrun=LATE, exit=exited(9), is_killed=True), "timeout", False, "passed its time limit"),
        (Evidence(overrun=ABOVE, stop=CANCEL, exit=exited(9), is_killed=True), "cancelled", False, "killed"),
        (
            Evidence(overrun=ABOVE, ended=ended("raised", message="MemoryError"), exit=exited(9)),
            "handler_error",
            False,
            "MemoryError",
        ),
        (
            Evidence(exit=Exit(code=None, signal=None, is_minder_lost=True)),
            "crashed",
            True,
            "minds the handlers was killed",
        ),
        (
            Evidence(stop=DRAIN, ended=ended("raised", message="Cancelled", is_stop_seen=True)),
            "drained",
            True,
            "",
        ),
        (
            Evidence(stop=DRAIN, ended=ended("fail", message="half done", is_stop_seen=True)),
            "drained",
            True,
            "half",
        ),
        (Evidence(stop=DRAIN, ended=ended("fail", message="no camera")), "handler_error", False, "no camera"),
        (
            Evidence(stop=DRAIN, ended=ended("invalid_parameters", message="a", is_stop_seen=True)),
            "invalid_parameters",
            False,
            "a",
        ),
    ],
)
def test_every_other_end_has_its_kind(seen: Evidence, kind: str, retryable: bool, words: str) -> None:
    """The kind, whether another attempt makes sense, and words for people."""
    end = classify(seen)
    assert end.code is ResultCode.FAILED
    assert end.error is not None
    assert (end.error.kind, end.error.retryable) == (kind, retryable)
    assert words in end.error.message


def test_out_of_memory_is_never_guessed() -> None:
    """A SIGKILL from outside may be the kernel's, or anybody's."""
    error = classify(Evidence(exit=exited(9))).error
    assert error is not None
    assert (error.kind, error.signal, error.exit_code) == (ErrorKind.CRASHED, "SIGKILL", None)


def test_the_signal_of_a_kill_of_ours_is_told() -> None:
    """People see that a stop ended by force."""
    error = classify(Evidence(stop=CANCEL, exit=exited(9), is_killed=True)).error
    assert error is not None
    assert error.signal == "SIGKILL"
