"""The parts of the command handler: allow-list, progress, lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from handlers.programs.allowed import find_program
from handlers.programs.lines import MAX_LINE_CHARS, Line, LineCutter
from handlers.programs.progress import progress_reader
from worker import Fail


def make_program(folder: Path, name: str, mode: int = 0o755) -> Path:
    """Write a file that can be started."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)
    return path


@pytest.mark.parametrize("wanted", ["tool", "{path}"])
@pytest.mark.parametrize("entry", ["tool", "{path}", " x , {path} ,"])
def test_a_program_is_found_by_name_or_path(tmp_path: Path, wanted: str, entry: str) -> None:
    """However it is allowed and named, the same file is started."""
    path = make_program(tmp_path / "bin", "tool")
    environment = {"MILLHAND_COMMANDS": entry.format(path=path), "PATH": str(path.parent)}
    assert find_program(wanted.format(path=path), environment) == str(path)


@pytest.mark.parametrize("wanted", ["./tool", "bin/tool", "", "TOOL", "tool ", "/tool", "../bin/tool"])
def test_no_other_name_reaches_an_allowed_program(tmp_path: Path, wanted: str) -> None:
    """Relative paths least of all: they would be looked up in the folder of the run."""
    path = make_program(tmp_path / "bin", "tool")
    with pytest.raises(Fail, match="is not allowed"):
        find_program(wanted, {"MILLHAND_COMMANDS": "tool", "PATH": str(path.parent)})


def test_another_program_of_the_same_name_is_not_started(tmp_path: Path) -> None:
    """The path that the operator gave is the one."""
    allowed, other = make_program(tmp_path / "a", "tool"), make_program(tmp_path / "b", "tool")
    environment = {"MILLHAND_COMMANDS": str(allowed), "PATH": str(other.parent)}
    assert find_program("tool", environment) == str(allowed)
    with pytest.raises(Fail, match="is not allowed"):
        find_program(str(other), environment)


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("missing", "is not on the PATH"),
        ("bin/tool", "is a relative path"),
        ("/nowhere/tool", "is no program that the worker may start"),
        ("{folder}/plain", "is no program that the worker may start"),
        ("{folder}", "is no program that the worker may start"),
    ],
)
def test_an_allowed_program_that_is_not_there_is_explained(tmp_path: Path, entry: str, why: str) -> None:
    """The operator's entry is right or wrong; the task is told which."""
    make_program(tmp_path, "plain", 0o644)
    name = entry.format(folder=tmp_path)
    with pytest.raises(Fail, match=why):
        find_program(name, {"MILLHAND_COMMANDS": name, "PATH": str(tmp_path)})


def test_a_relative_path_in_path_finds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that a task made in its folder never takes a program's place."""
    make_program(tmp_path, "tool")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Fail, match="is not on the PATH"):
        find_program("tool", {"MILLHAND_COMMANDS": "tool", "PATH": ".:"})


@pytest.mark.parametrize(
    ("line", "ratio"),
    [
        ("42%", 0.42),
        ("Rendering: 7.5 % of it", 0.075),
        ("100%", 1.0),
        ("0%", 0.0),
        ("10% then 20%", 0.2),
        ("[3/12] done", 0.25),
        ("3 / 4", 0.75),
        ("0/8", 0.0),
        ("50% (1/4)", 0.5),
        ("101%", None),
        ("1234%", None),
        ("v1.2.50%", None),
        ("9/8", None),
        ("0/0", None),
        ("/usr/1/2", None),
        ("2024/10/11", None),
        ("1/2/3", None),
        ("3.1/4", None),
        ("nothing", None),
        ("", None),
    ],
)
def test_usual_ways_to_tell_progress(line: str, ratio: float | None) -> None:
    """Percent and counts; paths, dates and versions are none."""
    assert progress_reader(None)(line) == ratio


@pytest.mark.parametrize(
    ("pattern", "line", "ratio"),
    [
        (r"at (\d+)", "at 30", 0.3),
        (r"(\d+) of (\d+)", "3 of 12", 0.25),
        (r"(\d+) of (\d+)", "99%", None),
        (r"(\w+)", "word", None),
        (r"(\d+)|x", "x", None),
        (r"(\d+) of (\d+)", "3 of 0", None),
        (r"(-?\d+)", "-5", None),
    ],
)
def test_a_pattern_of_the_task(pattern: str, line: str, ratio: float | None) -> None:
    """One group is percent, two are so many of so many; what is no number says nothing."""
    assert progress_reader(pattern)(line) == ratio


TIME = r"time=(?P<time>\S+)"
DURATION = r"Duration: (?P<duration>[\d:.]+)"
FRAME = r"Fra:(?P<done>\d+)"
FRAMES = r"(?P<total>\d+) frames"


@pytest.mark.parametrize(
    ("patterns", "lines", "ratios"),
    [
        ([r"(?P<percent>[\d.]+) percent"], ["12.5 percent", "none"], [0.125, None]),
        ([r"tile (?P<done>\d+)/(?P<total>\d+)"], ["tile 1/4", "tile 9/4"], [0.25, None]),
        (
            [FRAMES, FRAME],
            ["Fra:5", "10 frames", "Fra:5", "20 frames", "Fra:5"],
            [None, None, 0.5, None, 0.25],
        ),
        ([DURATION, TIME], ["time=00:00:05", "Duration: 00:00:10", "time=00:00:05.00"], [None, None, 0.5]),
        ([DURATION, TIME], ["Duration: 1:00:00", "time=00:30:00", "time=900"], [None, 0.5, 0.25]),
        ([DURATION, TIME], ["Duration: 00:40", "Duration: 00:08", "time=10"], [None, None, 0.25]),
        (
            [DURATION, TIME],
            ["Duration: 10", "time=N/A", "time=-00:00:01", "time=10.04"],
            [None, None, None, 1.0],
        ),
        ([DURATION, TIME], ["Duration: 0", "time=0"], [None, None]),
        ([r"(\d+)%", r"step (\d+) of (\d+)"], ["5%", "step 1 of 2", "5% step 1 of 2"], [0.05, 0.5, 0.5]),
        (["(?P<percent>x)?y"], ["y", "xy"], [None, None]),
    ],
)
def test_named_groups_tell_progress_over_several_lines(
    patterns: list[str], lines: list[str], ratios: list[float | None]
) -> None:
    """What is known of the whole stays known; what makes no sense says nothing."""
    reader = progress_reader(patterns)
    assert [reader(line) for line in lines] == ratios


def test_a_total_may_be_known_before() -> None:
    """From a value of the task; a line that tells another one wins."""
    reader = progress_reader([FRAMES, FRAME], 8)
    assert (reader("Fra:2"), reader("4 frames"), reader("Fra:2")) == (0.25, None, 0.5)


@pytest.mark.parametrize("patterns", [["(?P<speed>x)"], ["(?P<done>x)(y)"], [FRAMES], [FRAME] * 21, ["(a"]])
def test_patterns_that_cannot_work_are_refused(patterns: list[str]) -> None:
    """A group that nobody reads is a slip."""
    with pytest.raises(Fail, match=r"^progress "):
        progress_reader(patterns)


@pytest.mark.parametrize("pattern", ["(", "none", "(a)(b)(c)", "(" + "x" * 600 + ")"])
def test_a_pattern_that_cannot_work_is_refused(pattern: str) -> None:
    """Before the program is started."""
    with pytest.raises(Fail, match="progress"):
        progress_reader(pattern)


def cut(*chunks: bytes) -> list[Line]:
    """Return the lines of a stream that comes in chunks."""
    cutter = LineCutter()
    return [line for chunk in chunks for line in cutter.feed(chunk)] + list(cutter.end())


@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        ([b"a\nb\n"], [("a", False), ("b", False)]),
        ([b"a\n\nb"], [("a", False), ("", False), ("b", False)]),
        ([b"a\r\nb"], [("a", False), ("b", False)]),
        ([b"a\r", b"\nb"], [("a", False), ("b", False)]),
        ([b"1%\r2%\rdone\n"], [("1%", True), ("2%", True), ("done", False)]),
        ([b"1%\r"], [("1%", False)]),
        ([b"\xc3", b"\xbc\n"], [("ü", False)]),
        ([b"\xff\n", b"\xc3"], [("\ufffd", False), ("\ufffd", False)]),
        ([], []),
        ([b""], []),
    ],
)
def test_lines_end_at_lf_crlf_and_cr(chunks: list[bytes], lines: list[Line]) -> None:
    """However the bytes are cut into chunks; what is no UTF-8 is replaced."""
    assert cut(*chunks) == lines


@pytest.mark.parametrize("end", [b"", b"\n"])
@pytest.mark.parametrize("size", [1, MAX_LINE_CHARS, MAX_LINE_CHARS + 1, 5 * MAX_LINE_CHARS])
def test_long_lines_come_in_pieces(size: int, end: bytes) -> None:
    """No line without an end fills the memory."""
    lines = cut(*[b"x" * 1000] * (size // 1000), b"x" * (size % 1000), end)
    assert "".join(text for text, _ in lines) == "x" * size
    assert max(len(text) for text, _ in lines) <= MAX_LINE_CHARS
