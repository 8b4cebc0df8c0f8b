"""A task runs only programs that the operator allows, and leaves nothing of them behind."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from handlers.command import command
from tests.unit.handlers.conftest import Runs
from worker import Cancelled, Fail
from worker.sdk.testing import ToldContext

LIMIT_S = 30.0


def wait_for(path: Path) -> str:
    """Return the text of a file as soon as it has some."""
    limit_mono = time.monotonic() + LIMIT_S
    while time.monotonic() < limit_mono:
        if path.exists() and (text := path.read_text()):
            return text
        time.sleep(0.005)
    raise AssertionError(f"{path} was not written in {LIMIT_S} s")


def is_running(pid: int) -> bool:
    """Tell whether a process is there and no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def wait_until_gone(pid: int) -> None:
    """Wait until init has taken an orphan that was killed."""
    limit_mono = time.monotonic() + LIMIT_S
    while is_running(pid):
        assert time.monotonic() < limit_mono, f"process {pid} is still running"
        time.sleep(0.005)


def test_what_a_program_prints_becomes_lines_of_the_log(ctx: ToldContext, runs: Runs) -> None:
    """Both streams, each line with the name of its stream; the result counts them."""
    result = runs("import sys; print('out'); print('err', file=sys.stderr); print('ünï', end='')")
    assert result == {"exitCode": 0, "lines": 3, "outputs": []}
    assert sorted((message, fields["stream"]) for _, message, fields in ctx.told.logs) == [
        ("err", "stderr"),
        ("out", "stdout"),
        ("ünï", "stdout"),
    ]
    assert ctx.told.progress[-1] == (1.0, "done")


def test_progress_is_read_from_what_it_prints(ctx: ToldContext, runs: Runs) -> None:
    """Also from a progress bar, whose states are not logged."""
    result = runs("print('10 %\\r25.5%\\rtile 3/4\\ndone')")
    assert [ratio for ratio, _ in ctx.told.progress] == [0.1, 0.255, 0.75, 1.0]
    assert [message for _, message, _ in ctx.told.logs] == ["tile 3/4", "done"]
    assert result["lines"] == 2


def test_a_task_may_say_how_its_program_tells_progress(ctx: ToldContext, runs: Runs) -> None:
    """Two groups: so many, of so many."""
    runs("print('frame 2 of 8, 99%')", progress=r"frame (\d+) of (\d+)")
    assert ctx.told.progress[0][0] == 0.25


def test_it_runs_in_the_folder_of_the_run_with_a_clean_environment(
    ctx: ToldContext, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No variable of the worker but a few known ones, no input to wait for."""
    monkeypatch.setenv("SOME_SECRET", "s3cret")
    monkeypatch.setenv("MILLHAND_TREE", "mark")
    runs(
        "import os, sys, pathlib; pathlib.Path('seen').write_text(repr((sorted(os.environ), os.getcwd(), "
        "os.environ['HOME'], sys.stdin.read())))"
    )
    seen = (ctx.workdir / "seen").read_text()
    assert "SOME_SECRET" not in seen
    assert "MILLHAND_COMMANDS" not in seen
    assert "MILLHAND_TREE" in seen  # by it the worker finds what is left of a run
    assert seen.endswith(f"'{ctx.workdir}', '{ctx.workdir}', '')")


def test_files_that_match_become_artifacts_named_by_their_place(ctx: ToldContext, runs: Runs) -> None:
    """Each once, sorted, also from folders."""
    code = "import os; os.mkdir('b'); [open(n, 'w').close() for n in ('a.txt', 'b/c.txt', 'd.bin')]"
    assert runs(code, outputs=["**/*.txt", "a.*"])["outputs"] == ["a.txt", "b/c.txt"]
    assert ctx.told.artifacts == {"a.txt": ctx.workdir / "a.txt", "b/c.txt": ctx.workdir / "b/c.txt"}


def test_a_promised_file_that_is_not_there_fails_the_run(runs: Runs) -> None:
    """A result without its files is none."""
    with pytest.raises(Fail, match=r"made no file that matches '\*\.png'"):
        runs("print('forgot it')", outputs=["*.png"])


def test_a_link_that_leads_outside_is_no_output(ctx: ToldContext, runs: Runs) -> None:
    """A program cannot hand over files that are not its own."""
    with pytest.raises(Fail, match="made no file"):
        runs("import os; os.symlink('/etc/hostname', 'x.txt')", outputs=["*.txt"])
    assert ctx.told.artifacts == {}


@pytest.mark.parametrize("pattern", ["/etc/*", "../*", "a/../../b", ""])
def test_patterns_that_leave_the_folder_are_refused_before_the_start(
    ctx: ToldContext, runs: Runs, pattern: str
) -> None:
    """Nothing was started."""
    with pytest.raises(Fail, match="must be a pattern below the run's folder"):
        runs("open('started', 'w')", outputs=[pattern])
    assert not (ctx.workdir / "started").exists()


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("renders/**.png", "stands alone"), ("a**/x", "stands alone"), ("***", "stands alone"),
        ("**", "means folders"), ("renders/", "means folders"), ("renders/.", "means folders"),
        (".", "must be a pattern"), ("./", "must be a pattern"), ("a\ud800", "cannot be a pattern"),
    ],
)  # fmt: skip
def test_patterns_that_can_match_no_file_are_refused_before_the_start(
    ctx: ToldContext, runs: Runs, pattern: str, words: str
) -> None:
    """Not when hours of work are done."""
    with pytest.raises(Fail, match=words):
        runs("open('started', 'w')", outputs=[pattern])
    assert not (ctx.workdir / "started").exists()


def test_a_failure_says_the_exit_code_and_the_last_lines(runs: Runs) -> None:
    """The last twenty, not all."""
    with pytest.raises(Fail) as failure:
        runs("import sys; [print(f'line {i}') for i in range(50)]; sys.exit(3)")
    first, *rest = str(failure.value).splitlines()
    assert first == f"{sys.executable} ended with exit code 3:"
    assert rest == [f"line {i}" for i in range(30, 50)]


def test_a_program_that_dies_of_a_signal_is_said_so(runs: Runs) -> None:
    """The signal by its name; nothing printed is said too."""
    with pytest.raises(Fail, match=r"was ended by SIGSEGV, and printed nothing$"):
        runs("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")


def test_a_request_to_stop_ends_the_program_and_what_it_started(ctx: ToldContext, runs: Runs) -> None:
    """First SIGTERM; a child that ignores it gets SIGKILL."""
    code = (
        "import os, signal, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import signal, time;"
        " signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(600)'],"
        " stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        "def end(*_):\n"
        "    open('asked', 'w').write('SIGTERM'); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "open('part', 'w').write(f'{os.getpid()} {child.pid}'); os.rename('part', 'pids')\n"
        "time.sleep(600)\n"
    )
    pids: list[int] = []

    def ask() -> None:
        pids.extend(map(int, wait_for(ctx.workdir / "pids").split()))
        ctx.ask_to_stop()

    asking = threading.Thread(target=ask)
    asking.start()
    with pytest.raises(Cancelled):
        runs(code)
    asking.join()
    assert (ctx.workdir / "asked").read_text() == "SIGTERM"
    assert len(pids) == 2
    for pid in pids:
        wait_until_gone(pid)


def test_a_program_that_ignores_sigterm_is_killed(
    ctx: ToldContext, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its time to end in order."""
    monkeypatch.setattr("handlers.programs.program.TERM_GRACE_S", 0.05)  # else five seconds
    code = (
        "import signal, time, os; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "open('part', 'w').write(str(os.getpid())); os.rename('part', 'pid'); time.sleep(600)"
    )

    def ask() -> None:
        wait_for(ctx.workdir / "pid")
        ctx.ask_to_stop()

    asking = threading.Thread(target=ask)
    asking.start()
    with pytest.raises(Cancelled):
        runs(code)
    asking.join()
    assert not is_running(int((ctx.workdir / "pid").read_text()))


def test_what_a_program_leaves_in_the_background_ends_with_it(ctx: ToldContext, runs: Runs) -> None:
    """A daemon that holds the pipe neither blocks the run nor outlives it."""
    result = runs(
        "import subprocess, sys\n"
        "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']).pid)"
    )
    assert result["lines"] == 1
    wait_until_gone(int(ctx.told.logs[0][1]))


def test_who_leaves_the_group_and_keeps_the_pipe_does_not_hold_the_run(ctx: ToldContext, runs: Runs) -> None:
    """A daemon of its own session is the executor's to end; this run goes on without it."""
    result = runs(
        "import subprocess, sys\n"
        "daemon = [sys.executable, '-c', 'import time; time.sleep(600)']\n"
        "print(subprocess.Popen(daemon, start_new_session=True).pid)"
    )
    os.kill(int(ctx.told.logs[0][1]), signal.SIGKILL)
    assert result["exitCode"] == 0


def test_a_lot_of_output_on_both_streams_blocks_nothing(runs: Runs) -> None:
    """More than a pipe holds, on both at once; lines of any length are cut."""
    result = runs(
        "import sys\n"
        "for i in range(2000): print('x' * 60); print('y' * 60, file=sys.stderr)\n"
        "print('z' * 10000)"
    )
    assert result["lines"] == 4003


def test_no_shell_reads_the_arguments(ctx: ToldContext, runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a shell would expand comes through as it is."""
    monkeypatch.setenv("MILLHAND_COMMANDS", "echo")
    command(ctx, program="echo", args=["$HOME", "*; id", "`id`"])
    assert ctx.told.logs[0][1] == "$HOME *; id `id`"


@pytest.mark.parametrize("args", [["a\0b"], ["x" * 3_000_000]])
def test_arguments_that_cannot_be_passed_fail_with_words(
    ctx: ToldContext, monkeypatch: pytest.MonkeyPatch, args: list[str]
) -> None:
    """Not with a traceback."""
    monkeypatch.setenv("MILLHAND_COMMANDS", "echo")
    with pytest.raises(Fail, match="could not be started"):
        command(ctx, program="echo", args=args)


def test_a_program_that_is_not_allowed_is_not_started(
    ctx: ToldContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message says what is allowed and how to allow more."""
    monkeypatch.setenv("MILLHAND_COMMANDS", "echo, /opt/tool")
    with pytest.raises(
        Fail, match=r"'bash' is not allowed .*\(allowed: echo, /opt/tool\).*MILLHAND_COMMANDS"
    ):
        command(ctx, program="bash")


def test_nothing_is_allowed_by_default(ctx: ToldContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator says so first."""
    monkeypatch.delenv("MILLHAND_COMMANDS", raising=False)
    with pytest.raises(Fail, match=r"allowed: none"):
        command(ctx, program=os.fspath(sys.executable))
