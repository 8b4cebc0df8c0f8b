"""The soak's judgement, and a short soak."""

import asyncio
import random
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.faults.animals import animals
from tests.faults.cage import reap, watched
from tests.faults.processes import adopting_orphans, descendants, descriptors
from tests.soak.__main__ import soak
from tests.soak.census import Census
from tests.soak.herd import TAME, Deck
from tests.soak.verdict import problems_of, rest_of, slope_of

MIB = 2**20
RUNS = 150
MAX_GROWTH_BYTES = 8 * MIB  # of the few handlers that tell much
HANG_S = 60.0  # beyond every limit inside
SLOW = frozenset({"fills_its_folder", "nests_folders", "leaves_threads", "rewrites_itself"})


def census(number: int, rss_bytes: int, **others: int) -> Census:
    """Return a count of a soak with 100 runs in ten seconds."""
    left = {"descriptors": 10, "processes": 4, "zombies": 0} | others
    return Census(
        at_s=number * 10.0,
        runs=number * 100,
        rss_bytes=rss_bytes,
        minder_rss_bytes=10 * MIB,
        descriptors=left["descriptors"],
        processes=left["processes"],
        threads=3,
        zombies=left["zombies"],
    )


def test_a_slope_is_the_growth_per_thousand_runs() -> None:
    """Least squares find it under noise, with its error."""
    rng = random.Random(1)
    points = [(runs, 50 * MIB + 2048 * runs + rng.randrange(MIB)) for runs in range(0, 20_000, 100)]
    slope = slope_of(points)
    assert slope is not None
    assert abs(slope.bytes - 2_048_000) < 4 * slope.error_bytes < 100_000
    assert slope.runs == 19_900


def test_few_points_have_no_slope() -> None:
    """A soak that is too short says nothing of it."""
    assert slope_of([(0, 1), (100, 2), (200, 3)]) is None
    assert slope_of([(100, 1), (100, 2), (100, 3), (100, 4)]) is None


def test_the_warm_up_does_not_count() -> None:
    """What grows in the first minute, or the first third, is no leak."""
    taken = [census(number, min(number, 8) * 10 * MIB) for number in range(1, 40)]
    assert [one.at_s for one in rest_of(taken)][:2] == [60.0, 70.0]
    assert rest_of(taken[:6])[0].at_s == 20.0
    assert problems_of(taken[7:]) == []


@pytest.mark.parametrize(
    ("last", "says"),
    [
        (census(40, 100 * MIB, descriptors=30), "30 descriptors at the end, 10 after the warm-up"),
        (census(40, 100 * MIB, processes=5), "5 processes at the end, 4 after the warm-up"),
        (census(40, 100 * MIB, zombies=2), "2 zombies"),
    ],
)
def test_what_is_left_breaks_a_bound(last: Census, says: str) -> None:
    """Descriptors, processes and zombies are compared with the end of the warm-up."""
    assert problems_of([*(census(number, 100 * MIB) for number in range(1, 40)), last]) == [says]


def test_memory_that_grows_breaks_the_bound() -> None:
    """A megabyte more per thousand runs is a leak; half of it is none."""
    leaking = [census(number, 50 * MIB + number * MIB // 5) for number in range(1, 40)]
    assert "memory grows by 2.00 ± 0.00 MiB per 1,000 runs" in problems_of(leaking)[0]
    assert problems_of([census(number, 50 * MIB + number * MIB // 20) for number in range(1, 40)]) == []


def test_a_short_soak_leaves_nothing(tmp_path: Path) -> None:
    """Some hundred runs of tame and hostile handlers in three slots: right ends, nothing left, no leak."""
    quick = [one for one in animals() if one.end.weight > 1 and one.name not in SLOW]
    hostile = random.Random(7).sample(quick, 25)
    herd = [one._replace(end=replace(one.end, weight=1)) for one in hostile]
    deck = Deck([*herd, *animals(folder=TAME)], random.Random(7))
    before = descriptors()
    with adopting_orphans(), watched(HANG_S):
        try:
            lived = asyncio.run(soak(tmp_path, seconds=600, runs=RUNS, slots=3, deck=deck, say=False))
            left = descendants()
        finally:
            reap()
    assert lived.taken[-1].runs >= RUNS
    grown_bytes = lived.taken[-1].rss_bytes - rest_of(lived.taken)[0].rss_bytes
    problems = [one for one in problems_of(lived.taken) if "memory" not in one]  # too short for a slope
    assert (lived.wrong, lived.survivors, problems, left) == ([], [], [], [])
    assert grown_bytes < MAX_GROWTH_BYTES
    assert descriptors().keys() <= before.keys()
