"""What is kept of a run's output: head and tail in files, lines within their rate, no secrets."""

import asyncio
import re
from collections.abc import Coroutine
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.executor import output_file, stream_output
from worker.executor.output import OutputRules, RunOutput
from worker.executor.stream_output import TAIL_BYTES, RawTail
from worker.redaction import REDACTED, Redactor

TOKEN = "mh-3f9c1d-secret"


class Shown:
    """A run's output on a clock that is turned by hand, and its lines."""

    def __init__(self, folder: Path, redactor: Redactor | None = None, **rules: Any) -> None:
        self.lines: list[tuple[str, str]] = []
        self.now = 0.0
        self.output = RunOutput(
            str(folder / "output"),
            redactor or Redactor([TOKEN]),
            mono=lambda: self.now,
            on_line=lambda stream, line: self.lines.append((stream, line)),
            rules=OutputRules(**rules),
        )

    async def files(self, *, is_success: bool = True) -> dict[str, bytes]:
        """End the run; return what is in the files that are kept."""
        self.output.finish()
        kept = await self.output.close(is_success=is_success)
        return {file.name: file.path.read_bytes() for file in kept}


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Run a scenario within a limit."""

    async def limited() -> None:
        async with asyncio.timeout(30):
            await scenario

    asyncio.run(limited())


def test_each_stream_has_its_file_and_its_lines(tmp_path: Path) -> None:
    """As printed, but for the secrets."""

    async def scenario() -> None:
        it = Shown(tmp_path)
        it.output.feed("stdout", f"one\ntwo {TOKEN[:5]}".encode())
        it.output.feed("stderr", b"bad\n")
        it.output.feed("stdout", f"{TOKEN[5:]}\nthree".encode())
        assert await it.files() == {"stdout": f"one\ntwo {REDACTED}\nthree".encode(), "stderr": b"bad\n"}
        assert it.lines == [
            ("stdout", "one"), ("stderr", "bad"), ("stdout", f"two {REDACTED}"), ("stdout", "three")
        ]  # fmt: skip
        await it.output.discard()
        assert not any(tmp_path.iterdir())  # noqa: ASYNC240 - nothing else runs

    run(scenario())


def test_a_run_that_prints_nothing_touches_no_disk(tmp_path: Path) -> None:
    """Most runs are such."""

    async def scenario() -> None:
        it = Shown(tmp_path)
        assert await it.files() == {}
        await it.output.discard()
        assert not any(tmp_path.iterdir())  # noqa: ASYNC240 - nothing else runs

    run(scenario())


@pytest.mark.parametrize(
    ("keep", "is_success", "kept"),
    [
        ("all", True, True),
        ("all", False, True),
        ("failed", True, False),
        ("failed", False, True),
        ("none", False, False),
    ],
)
def test_which_files_are_kept_is_a_setting(tmp_path: Path, keep: str, is_success: bool, kept: bool) -> None:
    """Lines are shown all the same."""

    async def scenario() -> None:
        it = Shown(tmp_path, keep=keep)
        it.output.feed("stdout", b"line\n")
        assert ("stdout" in await it.files(is_success=is_success)) is kept
        assert it.lines == [("stdout", "line")]
        await it.output.discard()
        assert not any(tmp_path.iterdir())  # noqa: ASYNC240 - nothing else runs

    run(scenario())


def test_of_a_flood_head_and_tail_are_kept(tmp_path: Path) -> None:
    """Between them stands how much is missing; nothing is counted twice."""

    async def scenario() -> None:
        it = Shown(tmp_path, head_bytes=1000)
        data = b"".join(b"line %07d\n" % number for number in range(100_000))
        for start in range(0, len(data), 65536):
            it.output.feed("stdout", data[start : start + 65536])
        shown = (await it.files())["stdout"]
        head, tail = re.split("\n… \\d+ bytes dropped …\n".encode(), shown)
        (dropped,) = re.findall("\n… (\\d+) bytes dropped …\n", shown.decode())
        assert data.startswith(head)
        assert data.endswith(tail)
        assert tail.startswith(b"line ")
        assert len(head) == 1000
        assert TAIL_BYTES - 13 <= len(tail) <= TAIL_BYTES
        assert int(dropped) == len(data) - len(head) - len(tail)
        assert it.lines[-1] == ("stdout", "line 0099999")

    run(scenario())


@settings(deadline=None, max_examples=30)
@given(st.binary(max_size=3000), st.integers(1, 2000), st.lists(st.integers(0, 3000), max_size=5))
def test_what_fits_is_kept_byte_for_byte(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, head_bytes: int, places: list[int]
) -> None:
    """Beyond the head too, as long as the tail holds it; wherever it is cut."""

    async def scenario() -> None:
        it = Shown(tmp_path_factory.mktemp("run"), head_bytes=head_bytes)
        ends = sorted({*(min(place, len(data)) for place in places), 0, len(data)})
        for start, end in pairwise(ends):
            it.output.feed("stdout", data[start:end])
        assert (await it.files()).get("stdout", b"") == data

    run(scenario())


@pytest.mark.parametrize("line_end", [b"\n", b""])
@pytest.mark.parametrize("shift", range(0, len(TOKEN), 3))
def test_no_part_of_a_secret_is_left_where_the_bounds_cut(
    tmp_path: Path, shift: int, line_end: bytes
) -> None:
    """Neither at the end of the head nor at the beginning of the tail."""

    async def scenario() -> None:
        it = Shown(tmp_path, head_bytes=1000)
        data = b"." * shift + (b"-" + TOKEN.encode() + line_end) * 40_000
        for start in range(0, len(data), 65536):
            it.output.feed("stdout", data[start : start + 65536])
        shown = (await it.files())["stdout"].decode() + "".join(line for _, line in it.lines)
        assert "bytes dropped" in shown
        for at in range(len(TOKEN) - 5):
            assert TOKEN[at : at + 6] not in shown

    run(scenario())


def test_lines_go_on_beyond_the_head(tmp_path: Path) -> None:
    """A run of days is watched to its end; secrets told meanwhile are known there too."""

    async def scenario() -> None:
        it = Shown(tmp_path, redactor=Redactor(), head_bytes=10)
        it.output.feed("stdout", b"0123456789 broken\nnext\nhalf ")
        it.output.use(Redactor([TOKEN]))
        it.output.feed("stdout", TOKEN.encode() + b"\nlast\n")
        assert [line for _, line in it.lines] == [
            "… 8 bytes were too many and dropped", "next", f"half {REDACTED}", "last"
        ]  # fmt: skip
        assert await it.files() == {"stdout": f"0123456789 broken\nnext\nhalf {REDACTED}\nlast\n".encode()}

    run(scenario())


def test_lines_beyond_the_head_keep_to_their_rate(tmp_path: Path) -> None:
    """A second's worth, how much is missing, the next second's."""

    async def scenario() -> None:
        it = Shown(tmp_path, head_bytes=1)
        for now in (0.0, 1.0):
            it.now = now
            for _ in range(300):
                it.output.feed("stdout", b"\n" + b"x" * 9999)
        assert 100 < len(it.lines) < 230
        assert any("dropped" in line for _, line in it.lines)
        it.output.finish()
        assert it.lines[-1][1].startswith("xxx")

    run(scenario())


def test_output_that_is_made_to_be_slow_is_read_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The head ends early: who reads has other runs to look after."""
    monkeypatch.setattr(stream_output, "HEAD_BUSY_S", 0.0)  # whatever it takes is too much

    async def scenario() -> None:
        it = Shown(tmp_path)
        for _ in range(100):
            it.output.feed("stdout", b"x" * 9999 + b"\n")
        shown = (await it.files())["stdout"]
        assert b"bytes dropped" in shown
        assert len(shown) < 10_000 + TAIL_BYTES + 100

    run(scenario())


@given(st.lists(st.binary(max_size=40)), st.integers(1, 100))
def test_a_raw_tail_holds_little_more_than_its_bound(pieces: list[bytes], bound: int) -> None:
    """And everything that it does not give back is counted."""
    tail = RawTail(bound)
    for piece in pieces:
        tail.add(piece)
    data = b"".join(pieces)
    held, start = tail.take()
    taken = held[start:]
    assert data.endswith(taken)
    assert len(taken) <= bound
    assert tail.dropped_bytes == len(data) - len(taken)


def test_a_full_disk_loses_output_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never the run; the file that there is ends with the reason."""
    real = output_file.append_some

    def full(path: Path, data: bytes) -> int:
        if path.exists():
            raise OSError(28, "No space left on device")
        return real(path, data)

    monkeypatch.setattr(output_file, "append_some", full)  # a small tmpfs needs privileges

    async def scenario() -> None:
        it = Shown(tmp_path)
        it.output.feed("stdout", b"kept line\n" * 10)
        while it.output.is_writing:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.001)
        it.output.feed("stdout", b"lost line\n" * 10)
        shown = (await it.files())["stdout"].decode()
        assert shown.startswith("kept line\n")
        assert shown.endswith("\n… 100 bytes are lost: No space left on device …\n")
        assert it.output.problems() == ["stdout: No space left on device"]
        assert len(it.lines) == 20

    run(scenario())


def test_a_folder_that_cannot_be_made_loses_output_only(tmp_path: Path) -> None:
    """There is no file then, and the lines are all there is."""
    (tmp_path / "output").write_text("in the way")

    async def scenario() -> None:
        it = Shown(tmp_path)
        it.output.feed("stdout", b"line\n")
        assert await it.files() == {}
        assert len(it.output.problems()) == 1
        await it.output.discard()

    run(scenario())
