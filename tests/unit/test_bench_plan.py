"""How long the benchmark may take, and what it says where something took longer."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from tests.bench import steps
from tests.bench.curves.axes import AXES
from tests.bench.figure import Figure
from tests.bench.plan import OverTime, Step, bounded, play, told
from tests.bench.store import FULL, QUICK
from tests.bench.world import BenchError


def test_a_whole_measurement_takes_ten_minutes_at_the_most(tmp_path: Path) -> None:
    """The limits of all steps are ten minutes together; on a quiet machine it takes half of that."""
    whole = steps.usual(tmp_path, "SQLite", steps.Amounts())
    assert sum(one.limit_s for one in whole) <= 600
    assert sum(one.about_s for one in whole) <= 360
    assert all(one.about_s < one.limit_s for one in whole)


def test_the_long_form_has_every_part(tmp_path: Path) -> None:
    """What can be measured alone is in it, each curve too."""
    names = {one.name for one in steps.full(tmp_path, "SQLite", FULL)}
    assert {"dashboard", "store", "usage", "execution", "counts with 1 slots"} <= names
    assert all(any(axis.label in name for name in names) for axis in AXES)


@pytest.mark.parametrize("name", steps.ONLY)
def test_each_part_can_be_had_alone(name: str, tmp_path: Path) -> None:
    """There is a step for each name that --only takes."""
    assert steps.only(name, tmp_path, "SQLite", steps.Amounts(), QUICK)


def test_a_step_that_takes_too_long_is_cut_and_the_others_are_measured(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It has a figure that is unknown, with the reason; a loop of asyncio is cut as well."""
    done = Figure(name="done", value=1.0, unit="s")

    def hang() -> list[Figure]:
        async def both() -> None:
            await asyncio.gather(asyncio.sleep(60), asyncio.sleep(60))

        asyncio.run(both())
        return []

    played = play([Step("hangs", 0.01, 0.2, hang), Step("quick", 1, 60, lambda: [done])])
    assert [figure.value for figure in played.figures] == [None, 1.0]
    assert played.figures[0].note == "cut after 0 s"
    assert not played.is_whole
    said = capsys.readouterr().err
    assert "1 of 2, hangs" in said
    assert "2 of 2, quick … (1 s left" in said


def test_a_step_that_fails_is_told_and_the_others_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    """The whole reason stands on stderr, its first line beside the figure; a fault of ours is raised."""

    def fail() -> list[Figure]:
        raise BenchError("the agent ended; the end of its output:\nlast words")

    played = play([Step("fails", 1, 60, fail), Step("quick", 1, 60, list)])
    assert [(one.value, one.note) for one in played.figures] == [
        (None, "failed: the agent ended; the end of its output:")
    ]
    assert not played.is_whole
    assert "last words" in capsys.readouterr().err
    assert play([Step("quick", 1, 60, list)]).is_whole
    with pytest.raises(ZeroDivisionError):
        play([Step("wrong", 1, 60, lambda: [1 // 0])])  # type: ignore[list-item]


def test_a_limit_that_is_over_is_none_any_more() -> None:
    """Nothing comes after the block."""
    with bounded(0.05):
        pass
    time.sleep(0.1)
    with pytest.raises(OverTime), bounded(0.05):
        time.sleep(60)


def test_times_are_told_as_people_say_them() -> None:
    """Seconds, and minutes where there are many."""
    assert told(61.0) == "61 s"
    assert told(270.0) == "4 min"
