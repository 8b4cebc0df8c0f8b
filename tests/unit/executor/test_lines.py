"""Lines cut from bytes: bounded in length, number and memory."""

from hypothesis import given
from hypothesis import strategies as st

from worker.executor.lines import MAX_LINE_BYTES, MAX_LINES_PER_S, LineCutter, LogTail, RateLimit


def cutter(now: list[float] | None = None) -> tuple[LineCutter, list[str]]:
    """Return a cutter on a standing clock, and the lines it makes."""
    lines: list[str] = []
    clock = now or [0.0]
    return LineCutter(RateLimit(lambda: clock[0]), lines.append), lines


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_lines_are_the_same_however_they_are_read(chunks: list[bytes]) -> None:
    """Where a read ends is chance; what a line is, is not."""
    whole, whole_lines = cutter()
    whole.feed(b"".join(chunks))
    whole.finish()
    cut, lines = cutter()
    for chunk in chunks:
        cut.feed(chunk)
    cut.finish()
    assert lines == whole_lines


def test_an_endless_line_is_cut_once() -> None:
    """Its rest is dropped up to the next line; memory stays bounded."""
    cut, lines = cutter()
    for _ in range(100):
        cut.feed(b"x" * 1000)
    cut.feed(b"\nnext\n")
    assert len(lines) == 2
    assert lines[0] == "x" * MAX_LINE_BYTES + " …"
    assert lines[1] == "next"


def test_a_redrawn_progress_bar_is_its_last_drawing() -> None:
    """Carriage returns redraw a line on terminals."""
    cut, lines = cutter()
    cut.feed(b"10%\r20%\r30%\nwindows\r\n\xff\n")
    assert lines == ["30%", "windows", "\ufffd"]


def test_too_many_lines_are_dropped_and_counted() -> None:
    """The next second takes lines again; between them stands how much is missing."""
    now = [0.0]
    cut, lines = cutter(now)
    cut.feed(b"line\n" * (MAX_LINES_PER_S + 10))
    assert len(lines) == MAX_LINES_PER_S
    assert cut.dropped_bytes == 50
    now[0] = 1.0
    cut.feed(b"later\n")
    cut.finish()
    assert lines[MAX_LINES_PER_S:] == ["… 50 bytes were too many and dropped", "later"]
    assert cut.dropped_bytes == 0


def test_the_end_of_what_was_dropped_is_shown() -> None:
    """What a program said at last is mostly what people look for."""
    cut, lines = cutter()
    cut.feed(b"line\n" * (MAX_LINES_PER_S + 1))
    cut.feed(b"the end")
    cut.finish()
    assert lines[MAX_LINES_PER_S:] == [
        "… 12 bytes were too many and dropped; the last of them:", "line", "the end"
    ]  # fmt: skip


def test_what_was_dropped_unread_is_counted_with_the_line_it_broke() -> None:
    """Whoever drops it says how much it was, and what its end is."""
    cut, lines = cutter()
    cut.feed(b"one\nbeg")
    cut.lose(0)
    cut.lose(100)
    cut.feed(b"next\n")
    cut.lose(7)
    cut.finish(b"tail\nthe end\n")
    assert lines == [
        "one", "… 103 bytes were too many and dropped", "next",
        "… 7 bytes were too many and dropped; the last of them:", "tail", "the end",
    ]  # fmt: skip


def test_lines_that_are_slow_to_read_are_read_more_seldom() -> None:
    """Nobody's output takes the time of the other runs."""
    now = [5.0]
    limit = RateLimit(lambda: now[0])
    assert not limit.is_spent
    limit.spend(1, busy_s=0.05)
    assert not limit.is_spent
    limit.spend(1, busy_s=0.06)
    assert limit.is_spent
    now[0] = 6.0
    assert not limit.is_spent


def test_the_tail_keeps_the_last_lines_that_fit() -> None:
    """Fifty lines, and never more than eight thousand characters."""
    tail = LogTail()
    for number in range(60):
        tail.add(f"line {number}")
    assert tail.text().splitlines() == [f"line {number}" for number in range(10, 60)]
    for _ in range(50):
        tail.add("x" * 1000)
    assert len(tail.text()) == 8 * 1024
    assert tail.text().startswith("…")
