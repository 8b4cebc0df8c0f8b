"""Hundreds of agents at one server, in virtual time; `python -m tests.simulation.fleet` has ten thousand."""

from __future__ import annotations

import pytest

from tests.simulation.fleet import Figures, Kind, measured

AGENTS = 200
TASKS = 100


@pytest.fixture(scope="module", params=["ours", "plain"])
def figures(request: pytest.FixtureRequest) -> Figures:
    """Measure a fleet on each kind of server."""
    kind: Kind = request.param
    return measured(kind, AGENTS, TASKS)


def test_an_idle_agent_asks_a_few_times_a_minute(figures: Figures) -> None:
    """Held polls take half a minute; where polls are not held, they come as far apart."""
    assert 1.0 <= figures.requests_per_idle_agent_minute <= 2.5


def test_a_server_that_comes_back_is_not_trampled_down(figures: Figures) -> None:
    """After five minutes the busiest moments see less than twice the usual rate, as while it was away."""
    assert figures.return_peak_ratio < 2.0
    assert figures.outage_per_s < 2.0 * figures.steady_per_s


def test_each_task_is_claimed_once_and_on_our_server_without_a_race(figures: Figures) -> None:
    """Our server shows a task to one agent at a time; elsewhere some claims are lost, and nothing else."""
    assert figures.doubled == 0
    assert figures.wasted_claims_per_task <= (0.02 if figures.server == "ours" else 0.1)


def test_agents_that_start_together_do_not_ask_together_for_ever(figures: Figures) -> None:
    """Held polls would come back in one moment, again and again."""
    assert figures.start_peak_ratio < (2.0 if figures.server == "ours" else 6.0)
