"""The hard paths of a handler, exercised on its author's machine: cancel, kill, resume, input."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.page import Terminal, missing
from tests.unit.cli.conftest import Cli, Ran, cli, own_home, own_logs

__all__ = ["cli", "own_home", "own_logs"]  # fixtures

# Its second frame never ends unless it is asked to stop, killed, or resumed: nothing depends on speed.
FRAMES = '''
import time

from worker import Context, handler


@handler()
def frames(ctx: Context, *, count: int = 3, input: str | None = None) -> dict:
    """Make frames."""
    done = ctx.resume["done"] if ctx.resume else 0
    while done < count:
        done += 1
        ctx.checkpoint({"done": done})
        while done == 2 and not ctx.resume:
            ctx.check()
            time.sleep(0.01)
    (ctx.workdir / "frames.txt").write_text(str(done))
    ctx.artifact("frames.txt")
    return {"frames": done, "attempt": ctx.attempt, "input": input}
'''


@pytest.fixture
def own_file(tmp_path: Path) -> Path:
    """A file of a handler author."""
    path = tmp_path / "own.py"
    path.write_text(FRAMES)
    return path


def told(out: str) -> dict[str, Any]:
    """Return the JSON document of a run."""
    document: dict[str, Any] = json.loads(out)
    return document


def killed(cli: Cli, own_file: Path, *args: str) -> Ran:
    """Return a run that was killed in its second frame, however slow the machine is."""
    ran = Ran(0, "", "")
    for after_s in ("0.3", "3", "30"):
        ran = cli("run", str(own_file), "--kill-after", after_s, *args)
        if '{"done": 2}' in ran.out:
            break
    return ran


def test_a_killed_run_tells_what_its_task_would_have_and_resumes(cli: Cli, own_file: Path) -> None:
    """The checkpoint of the killed process is where the next attempt begins; a success leaves nothing."""
    ran = killed(cli, own_file, "--no-json")
    assert ran.code == 1
    for said in ("crashed", '{"done": 2}', "bill", "what its task would have", "--resume"):
        assert said in ran.out + ran.err
    again = cli("run", str(own_file), "--resume")
    assert again.code == 0, again.err
    document = told(again.out)
    assert document["value"] == {"frames": 3, "attempt": 2, "input": None}
    assert document["resumedFrom"].startswith("the checkpoint of attempt 1")
    assert document["checkpoint"] is None
    assert Path(document["folder"], "frames.txt").read_text() == "3"
    nothing = cli("run", str(own_file), "--resume")
    assert nothing.code == 2
    assert "there is no checkpoint to resume from: the last run of 'frames'" in nothing.err
    assert "succeeded" in nothing.err


def test_a_run_that_was_cancelled_says_how_long_it_took_to_stop(cli: Cli, own_file: Path) -> None:
    """And leaves its checkpoint too; as JSON it can be given to a later run, or to another machine."""
    ran = cli("run", str(own_file), "--cancel-after", "0.2")
    assert ran.code == 1
    document = told(ran.out)
    assert document["error"]["kind"] == "cancelled"
    assert document["killed"] is False
    assert document["checkpoint"] == {"done": 2}
    file = own_file.parent / "kept.json"
    file.write_text(ran.out)
    cli("run", str(own_file), "-p", "count=1")  # the last run here leaves nothing: the file is what counts
    again = told(cli("run", str(own_file), f"--resume={file}").out)
    assert again["value"]["frames"] == 3
    assert again["attempt"] == 2


def test_a_checkpoint_may_be_written_by_hand(cli: Cli, own_file: Path) -> None:
    """A JSON file that is no run is the checkpoint itself."""
    file = own_file.parent / "mine.json"
    file.write_text('{"done": 7}')
    assert told(cli("run", str(own_file), "--resume", str(file)).out)["value"]["frames"] == 7
    file.write_text('{"checkpoint": null}')
    ran = cli("run", str(own_file), f"--resume={file}")
    assert (ran.code, "holds none" in ran.err) == (2, True)


def test_without_a_checkpoint_resume_says_so_and_runs_nothing(cli: Cli, own_file: Path) -> None:
    """Before the first run, after one that saved none, and where the option took the handler for its file."""
    never = cli("run", str(own_file), "--resume")
    assert (never.code, "was not run here before" in never.err) == (2, True)
    assert never.out == ""
    taken = cli("run", "--resume", str(own_file))
    assert (taken.code, "write --resume at the end" in taken.err) == (2, True)
    gone = cli("run", str(own_file), "--resume=nowhere.json")
    assert (gone.code, "is no file" in gone.err) == (2, True)


def test_a_resumed_run_that_fails_keeps_where_it_began(cli: Cli, own_file: Path) -> None:
    """As a server does: the most recent checkpoint of the task is what the next attempt gets."""
    killed(cli, own_file)
    failed = cli("run", str(own_file), "-p", "count=many", "--resume")
    assert told(failed.out)["error"]["kind"] == "invalid_parameters"
    document = told(cli("run", str(own_file), "--resume").out)
    assert (document["attempt"], document["value"]["frames"]) == (3, 3)


def test_a_run_that_was_too_quick_for_it_says_so(cli: Cli, own_file: Path) -> None:
    """Nobody takes for tested what was not."""
    ran = cli("run", str(own_file), "-p", "count=1", "--kill-after", "1h", "--no-json")
    assert ran.code == 0
    assert "the run had ended before --kill-after 3600s" in ran.err


def test_an_input_is_an_option_too(
    cli: Cli, own_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path from here, or a URL; not twice."""
    photo = tmp_path / "photo.jpg"
    photo.write_text("")
    monkeypatch.chdir(tmp_path)
    once = ("run", str(own_file), "--param", "count=1")
    assert told(cli(*once, "--input", "photo.jpg").out)["value"]["input"] == str(photo)
    url = "https://example.com/photo.jpg"
    assert told(cli(*once, "--input", url).out)["value"]["input"] == url
    assert cli(*once, "--input", "missing.jpg").code == 2
    assert "both given" in cli(*once, "photo.jpg", "--input", "photo.jpg").err
    assert "both given" in cli(*once, "-p", "input=photo.jpg", "--input", "photo.jpg").err


def test_a_file_that_cannot_be_imported_fails_with_its_traceback(cli: Cli, own_file: Path) -> None:
    """The command line was right: the exit code is that of work that failed."""
    own_file.write_text("from worker import handler\n\ndef broken(:\n")
    ran = cli("run", str(own_file))
    assert ran.code == 1
    assert f'File "{own_file}", line 3' in ran.err
    assert "worker/executor" not in ran.err


def test_a_terminal_shows_a_bar_and_the_lines_above_it(own_file: Path, tmp_path: Path) -> None:
    """What the run tells is there while it goes on; a table with where the files lie is there at its end."""
    own_file.write_text(
        "from worker import handler\n"
        "@handler()\n"
        "def told(ctx):\n"
        "    ctx.log('a line')\n"
        "    ctx.progress(0.5, 'half way')\n"
        "    (ctx.workdir / 'made.txt').write_text('made')\n"
        "    ctx.artifact('made.txt')\n"
    )
    environment = {**os.environ, "HOME": str(tmp_path), "TERM": "xterm", "COLUMNS": "200", "NO_COLOR": "1"}
    terminal = Terminal(environment, tmp_path)
    try:
        code, printed, _ = terminal.run(f"{sys.executable} -P -m worker.cli.main run {own_file}")
    finally:
        terminal.close()
    assert code == 0, printed
    assert (
        missing("log: a line\nresult Success\nwall 1 s\nCPU …\nbill complete\nfile made.txt", printed) is None
    )
    assert re.search(r"half way ━+.* 50%", printed)
    folder = re.search(r"^folder +(\S+)", printed, re.MULTILINE)
    assert folder is not None
    assert Path(folder[1], "made.txt").read_text() == "made"
