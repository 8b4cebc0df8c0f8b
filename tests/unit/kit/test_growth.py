"""Whether memory grows: told from caches that fill, from noise, and from fragmentation that ends."""

from __future__ import annotations

from random import Random

import pytest

from worker.testing.growth import growth_per_run

KIB = 1024.0
RUNS = 100


def test_a_leak_is_its_slope() -> None:
    """However much there is besides."""
    assert growth_per_run([5e8 + run * 64 * KIB for run in range(RUNS)]) == 64 * KIB


def test_what_fills_at_the_beginning_is_no_leak() -> None:
    """A cache of the first runs lies before the warm-up's end."""
    assert growth_per_run([min(run, 15) * 1e6 for run in range(RUNS)]) == 0


def test_a_single_step_is_no_leak_wherever_it_stands() -> None:
    """An arena that is opened once."""
    for at in range(RUNS):
        assert growth_per_run([1e7 + (1e6 if run >= at else 0) for run in range(RUNS)]) == 0


def test_growth_that_comes_to_an_end_is_no_leak() -> None:
    """Fragmentation settles; a leak does not."""
    assert growth_per_run([min(run, 55) * 64 * KIB for run in range(RUNS)]) < 16 * KIB


def test_noise_neither_makes_a_leak_nor_hides_one() -> None:
    """A busy machine moves single sizes by a megabyte; the slope stays."""
    for seed in range(50):
        random = Random(seed)
        noise = [random.choice((0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)) * 1e6 for _ in range(RUNS)]
        flat = growth_per_run(noise)
        leaking = growth_per_run([one + run * 64 * KIB for run, one in enumerate(noise)])
        assert flat < 1 * KIB < 48 * KIB < leaking


def test_too_few_runs_have_no_slope() -> None:
    """It is said, not guessed."""
    with pytest.raises(ValueError, match="ten runs or more"):
        growth_per_run([1.0] * 9)
