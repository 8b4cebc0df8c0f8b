"""How values look to a person."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from worker.cli import human


@pytest.mark.parametrize(
    ("n_bytes", "shown"),
    [
        (None, "–"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1024**2 - 1, "1.0 MiB"),
        (25 * 1024**3, "25.0 GiB"),
        (5000 * 1024**5, "5000.0 PiB"),
    ],
)
def test_a_size_has_a_binary_unit_and_an_unknown_one_is_a_dash(n_bytes: int | None, shown: str) -> None:
    """Unknown is never shown as zero, and no number has four digits before the point but the last unit."""
    assert human.size(n_bytes) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "–"),
        (0, "0 ms"),
        (0.0123, "12 ms"),
        (0.9996, "1.00 s"),
        (3.414, "3.41 s"),
        (59.996, "1 min 00 s"),
        (245, "4 min 05 s"),
        (7380, "2 h 03 min"),
        (86400 * 3 + 3600 * 4, "3 d 04 h"),
        (-2, "-2.00 s"),
    ],
)
def test_a_duration_is_said_as_people_say_it(seconds: float | None, shown: str) -> None:
    """Each range has its units, and rounding never gives 60 seconds."""
    assert human.duration(seconds) == shown


@pytest.mark.parametrize(
    ("ratio", "shown"), [(None, "–"), (0, "0 %"), (0.999, "99 %"), (1, "100 %"), (1.2, "100 %")]
)
def test_only_what_is_complete_is_a_hundred_percent(ratio: float | None, shown: str) -> None:
    """99.9 % is not done."""
    assert human.percent(ratio) == shown


def test_times_are_utc_and_told_as_how_long_ago() -> None:
    """A time of any zone is shown in UTC; a time to come is now."""
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert human.instant(at.astimezone()) == "2026-01-02 03:04:05Z"
    assert human.ago(at, at + timedelta(minutes=3, seconds=2)) == "3 min ago"
    assert human.ago(at, at - timedelta(seconds=2)) == "now"
    assert human.ago(None, at) == human.instant(None) == "–"


def test_counts_texts_and_long_lines() -> None:
    """One task, two tasks; None is a dash; a cut text says that it is cut."""
    assert [human.count(1, "task"), human.count(2, "task"), human.count(0, "box", "boxes")] == [
        "1 task", "2 tasks", "0 boxes",
    ]  # fmt: skip
    assert [human.text(value) for value in (None, "", True, False, 0)] == ["–", "–", "yes", "no", "0"]
    assert human.shorten("one\ntwo", 80) == "one…"
    assert human.shorten("abcdef", 4) == "abc…"
    assert human.shorten("abcd", 4) == "abcd"
