"""A task runs a template of the operator's: it gives values, and chooses neither program nor options."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from handlers.command import command
from worker import Cancelled, Fail, Retry
from worker.sdk.errors import InvalidParameters
from worker.sdk.testing import ToldContext

RunsTemplate = Callable[..., dict[str, Any]]
FFMPEG = r"""
import sys
print("  Duration: 00:01:40.00, start: 0.000000, bitrate: 1205 kb/s", file=sys.stderr)
print("  Duration: 00:00:03.50, start: 0.000000, bitrate: 128 kb/s", file=sys.stderr)
for at in ("00:00:25.00", "00:01:15.00", "00:01:40.04"):
    print(f"frame=  60 fps= 30 q=28.0 size=  256KiB time={at} bitrate= 41.4kb/s", end="\r", file=sys.stderr)
print("", file=sys.stderr)
open(sys.argv[1], "w").write("film")
"""


@pytest.fixture
def runs(ctx: ToldContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunsTemplate:
    """Return a function that runs a text of Python as a template with these further keys."""
    path = tmp_path / "commands.toml"
    monkeypatch.setenv("MILLHAND_COMMAND_TEMPLATES", str(path))
    monkeypatch.delenv("MILLHAND_COMMANDS", raising=False)

    def run(code: str, keys: str = "", **parameters: Any) -> dict[str, Any]:
        (tmp_path / "program.py").write_text(code)
        argv = f'argv = ["{sys.executable}", "-u", "{tmp_path}/program.py", ["{{one}}"], ["{{two}}"]]'
        (tmp_path / "commands.toml").write_text(
            f"[tool]\n{argv}\n{keys}\n"
            '[tool.parameters]\none = { type = "file", optional = true }\n'
            'two = { type = "text", optional = true }\n'
        )
        return command(ctx, template="tool", **parameters)

    return run


def test_a_template_runs_without_the_list_of_commands(ctx: ToldContext, runs: RunsTemplate) -> None:
    """Values arrive as single arguments; its file becomes an artifact; it has its environment."""
    code = "import os, sys; open(sys.argv[1], 'w').write(sys.argv[2] + os.environ['MODE'])"
    keys = 'outputs = ["*.txt"]\nenvironment = { MODE = "!" }'
    result = runs(code, keys, values={"one": "a.txt", "two": "$HOME; `id` *"})
    assert result == {"exitCode": 0, "lines": 0, "outputs": ["a.txt"]}
    assert ctx.told.artifacts["a.txt"].read_text() == "$HOME; `id` *!"


@pytest.mark.parametrize("value", ["..", "/etc/hostname", "../other", "."])
def test_a_value_makes_no_pattern_that_leaves_the_folder(
    ctx: ToldContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    """That is seen before the program is started."""
    path = tmp_path / "commands.toml"
    monkeypatch.setenv("MILLHAND_COMMAND_TEMPLATES", str(path))
    path.write_text(
        f'[tool]\nargv = ["{sys.executable}", "-c", "open(\'started\', \'w\')"]\noutputs = ["{{name}}"]\n'
        '[tool.parameters]\nname = { type = "text" }\n'
    )
    with pytest.raises(Fail, match="must be a pattern below the run's folder"):
        command(ctx, template="tool", values={"name": value})
    assert not (ctx.workdir / "started").exists()


def test_what_a_template_says_no_task_says(runs: RunsTemplate) -> None:
    """Each is named; and without a template there are no values."""
    with pytest.raises(InvalidParameters) as refused:
        runs("", program="sh", args=["-c"], outputs=[], progress="x")
    assert [one.partition(":")[0] for one in refused.value.problems] == [
        "program",
        "args",
        "outputs",
        "progress",
    ]


@pytest.mark.parametrize("given", [{}, {"values": {}}, {"program": "echo", "values": {}}])
def test_a_task_gives_a_program_or_a_template(ctx: ToldContext, given: dict[str, Any]) -> None:
    """And values to a template only."""
    with pytest.raises(InvalidParameters, match="give program, or template with values"):
        command(ctx, **given)


def test_a_refused_value_starts_nothing(ctx: ToldContext, runs: RunsTemplate) -> None:
    """An option in the place of a text least of all."""
    with pytest.raises(InvalidParameters, match=r"values\.two must not begin with '-'"):
        runs("open('started', 'w')", values={"two": "--help"})
    assert list(ctx.workdir.iterdir()) == []


def test_an_unknown_template_names_those_that_there_are(ctx: ToldContext, runs: RunsTemplate) -> None:
    """And where its operator defines one."""
    runs("")
    with pytest.raises(Fail, match=r"no template 'x' .* \(there are: tool\); .*MILLHAND_COMMAND_TEMPLATES"):
        command(ctx, template="x")


def test_without_a_file_there_are_no_templates(ctx: ToldContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default."""
    monkeypatch.delenv("MILLHAND_COMMAND_TEMPLATES", raising=False)
    with pytest.raises(Fail, match=r"\(there are: none\)"):
        command(ctx, template="x")


def test_a_broken_file_is_no_fault_of_the_task(runs: RunsTemplate) -> None:
    """Another attempt may find it mended, or run elsewhere."""
    with pytest.raises(Retry, match=r"commands\.toml: \[tool\] timeout: must be seconds"):
        runs("", 'timeout = "soon"')


def test_a_program_that_is_not_installed_is_named(
    ctx: ToldContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its template."""
    (tmp_path / "c.toml").write_text('[t]\nargv = ["no-such-tool"]\n[u]\nargv = ["/nowhere/tool"]')
    monkeypatch.setenv("MILLHAND_COMMAND_TEMPLATES", str(tmp_path / "c.toml"))
    with pytest.raises(
        Fail, match="template 't' runs 'no-such-tool', but it is not on the PATH of the worker"
    ):
        command(ctx, template="t")
    with pytest.raises(Fail, match="but it is no program that the worker may start"):
        command(ctx, template="u")


def test_exit_codes_mean_what_the_template_says(ctx: ToldContext, runs: RunsTemplate) -> None:
    """Success, another attempt after a while, or the end."""
    keys = 'success_exit_codes = [0, 3]\nretry_exit_codes = [75]\nretry_after = "2m"'
    assert runs("raise SystemExit(3)", keys)["exitCode"] == 3
    with pytest.raises(Retry, match="tool ended with exit code 75:\nno licence is free") as again:
        runs("print('no licence is free'); raise SystemExit(75)", keys)
    assert again.value.after_s == 120
    with pytest.raises(Fail, match="tool ended with exit code 1"):
        runs("raise SystemExit(1)", keys)
    with pytest.raises(Fail, match="tool ended with exit code 0"):
        runs("", "success_exit_codes = [3]")


def test_a_template_may_limit_the_time_of_its_program(ctx: ToldContext, runs: RunsTemplate) -> None:
    """It gets SIGTERM and time to end in order, and the run has failed whatever it says then."""
    code = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (open('asked', 'w').close(), sys.exit(0)))\n"
        "time.sleep(600)\n"
    )
    with pytest.raises(Fail, match=r"took longer than 1 s, and was stopped$"):
        runs(code, 'timeout = "1s"')
    assert (ctx.workdir / "asked").exists()


def test_a_request_to_stop_wins_over_the_time_limit(ctx: ToldContext, runs: RunsTemplate) -> None:
    """The run ends as what it was asked to."""

    def ask() -> None:
        limit_mono = time.monotonic() + 30
        while not (ctx.workdir / "up").exists() and time.monotonic() < limit_mono:
            time.sleep(0.005)
        ctx.ask_to_stop()

    asking = threading.Thread(target=ask)
    asking.start()
    with pytest.raises(Cancelled):
        runs("import time; open('up', 'w'); time.sleep(600)", 'timeout = "1h"')
    asking.join()


def test_progress_of_a_video_is_its_time_in_the_longest_input(ctx: ToldContext, runs: RunsTemplate) -> None:
    """Two patterns: the duration once, the time again and again, on lines that overwrite each other."""
    keys = r"""progress = ['Duration: (?P<duration>[\d:.]+)', 'time=(?P<time>[\d:.]+)']"""
    runs(FFMPEG, keys, values={"one": "out.mp4"})
    assert [ratio for ratio, _ in ctx.told.progress] == [0.25, 0.75, 1.0, 1.0]
