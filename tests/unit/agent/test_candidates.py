"""Which pending tasks are tried, in which order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.agent.stub_api import task
from worker.agent.candidates import choose, spread


def test_tasks_without_a_handler_and_tasks_that_do_not_fit_are_left_to_others() -> None:
    """Each for its own reason."""
    running = task("running", runStatus="running")
    choice = choose(
        [task("fits"), task("big"), task("foreign", type="other"), running, task("tried")],
        {"noop"},
        lambda one: ("needs a GPU",) if one.id == "big" else (),
        lambda id_: id_ == "tried",
    )
    assert [one.id for one in choice.candidates] == ["fits"]
    assert [(one.id, why) for one, why in choice.left] == [("big", ("needs a GPU",))]
    assert choice.foreign == 1


@given(st.lists(st.integers(0, 2), max_size=30))
def test_priority_is_kept_and_equals_are_spread(priorities: list[int]) -> None:
    """The server's order by priority stays; among equals each agent starts elsewhere."""
    tasks = [task(f"t{at}", priority=one) for at, one in enumerate(sorted(priorities, reverse=True))]
    ordered = spread(tasks, "agent-1")
    assert [one.priority for one in ordered] == [one.priority for one in tasks]
    assert {one.id for one in ordered} == {one.id for one in tasks}


def test_two_agents_do_not_start_with_the_same_task() -> None:
    """Agents that see one list would race for its head."""
    tasks = [task(f"t{at}") for at in range(100)]
    heads = {spread(tasks, f"agent-{at}")[0].id for at in range(10)}
    assert len(heads) > 5
