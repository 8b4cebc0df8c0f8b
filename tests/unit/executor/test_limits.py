"""Limits: what a task says is read strictly, and what holds is decided once, as a table."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.executor.limits import Limits, effective_limits
from worker.executor.task_limits import read_limits

HUGE = 10**5000  # Python refuses to print it


@pytest.mark.parametrize(
    ("task", "handler", "agent", "expected"),
    [
        (None, None, None, None),
        (5, None, None, 5),
        (None, 5, None, 5),
        (None, None, 5, 5),
        (9, 5, None, 9),  # the task knows best how large it is
        (3, 5, None, 3),
        (9, 5, 7, 7),  # and the owner of the machine what it may take
        (3, 5, 7, 3),
        (None, 9, 7, 7),
        (None, 5, 7, 5),
        (9, None, 7, 7),
        (7, 9, 7, 7),
    ],
)
def test_the_tasks_limit_else_the_handlers_never_above_the_agents(
    task: int | None, handler: int | None, agent: int | None, expected: int | None
) -> None:
    """The same rule for each of the three limits, each by itself."""
    for field in ("timeout_s", "no_progress_s", "memory_bytes"):
        found = effective_limits(
            Limits(**{field: task}), Limits(**{field: handler}), Limits(**{field: agent})
        )
        assert found == Limits(**{field: expected})


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (None, Limits()),
        ({}, Limits()),
        ({"timeout": None}, Limits()),
        ({"timeout": 90}, Limits(timeout_s=90)),
        ({"timeout": 0.25}, Limits(timeout_s=0.25)),
        ({"timeout": "90"}, Limits(timeout_s=90)),
        ({"timeout": "5m"}, Limits(timeout_s=300)),
        ({"timeout": " 1H30M "}, Limits(timeout_s=5400)),
        ({"timeout": "1.5h"}, Limits(timeout_s=5400)),
        ({"timeout": "2d1s"}, Limits(timeout_s=2 * 86400 + 1)),
        ({"noProgress": "30s"}, Limits(no_progress_s=30)),
        ({"memory": 1024}, Limits(memory_bytes=1024)),
        ({"memory": "4GiB"}, Limits(memory_bytes=4 * 2**30)),
        ({"memory": "4GB"}, Limits(memory_bytes=4 * 10**9)),
        ({"memory": "512m"}, Limits(memory_bytes=512 * 2**20)),
        (
            {"timeout": 1, "noProgress": 2, "memory": 3},
            Limits(timeout_s=1, no_progress_s=2, memory_bytes=3),
        ),
        ({"timeout": float("inf"), "memory": "9" * 24}, Limits(timeout_s=1e9, memory_bytes=2**63 - 1)),
        pytest.param(
            {"timeout": HUGE, "memory": HUGE}, Limits(timeout_s=1e9, memory_bytes=2**63 - 1), id="huge"
        ),
    ],
)
def test_limits_are_numbers_or_text(limits: object, expected: Limits) -> None:
    """Seconds and bytes, or what people write; null is as good as absent."""
    assert read_limits(limits) == (expected, ())


@pytest.mark.parametrize(
    ("limits", "problem"),
    [
        ([], "limits must be an object with timeout, noProgress, memory, not a list of 0"),
        ("5m", "limits must be an object with timeout, noProgress, memory, not '5m'"),
        (True, "limits must be an object"),
        ({"time": 5}, "limits.time is not known; known are timeout, noProgress, memory"),
        ({"TIMEOUT": 5}, "limits.TIMEOUT is not known"),
        ({"x" * 999: 5}, "limits.xxx"),
        ({"timeout": 0}, "limits.timeout must be above 0, but is 0"),
        ({"timeout": "0s"}, "limits.timeout must be above 0, but is '0s'"),
        ({"timeout": -1}, "limits.timeout must not be negative, but is -1"),
        ({"timeout": "-5m"}, "limits.timeout must be seconds, or text like 90s, 5m or 1h30m, not '-5m'"),
        ({"timeout": "soon"}, "limits.timeout must be seconds, or text like 90s, 5m or 1h30m, not 'soon'"),
        ({"timeout": ""}, "limits.timeout must be seconds"),
        ({"timeout": " "}, "limits.timeout must be seconds"),
        ({"timeout": "5m5h"}, "limits.timeout must be seconds"),
        ({"timeout": "٣"}, "limits.timeout must be seconds"),
        ({"timeout": "9" * 400}, "limits.timeout must be seconds"),
        ({"timeout": True}, "limits.timeout must be seconds, or text like 90s, 5m or 1h30m, not true"),
        ({"timeout": float("nan")}, "limits.timeout must be seconds"),
        ({"timeout": {}}, "limits.timeout must be seconds, or text like 90s, 5m or 1h30m, not an object"),
        pytest.param({"timeout": -HUGE}, "limits.timeout must not be negative, but is a huge", id="minus"),
        ({"noProgress": []}, "limits.noProgress must be seconds"),
        ({"memory": "lots"}, "limits.memory must be bytes, or text like 512M, 24GiB or 24GB, not 'lots'"),
        ({"memory": 0}, "limits.memory must be above 0, but is 0"),
        ({"memory": 0.5}, "limits.memory must be above 0, but is 0.5"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_key(limits: object, problem: str) -> None:
    """A wrong type, an unknown word, nothing at all: never taken for no limit."""
    read, problems = read_limits(limits)
    assert read == Limits()
    (found,) = problems
    assert found.startswith(problem)
    assert len(found) < 300


def test_every_problem_is_named_at_once() -> None:
    """Who submits mends all of them in one go; what could be read is read."""
    read, problems = read_limits({"timeout": "never", "noProgress": 5, "memory": [], "cpu": 1})
    assert [problem.split()[0] for problem in problems] == ["limits.timeout", "limits.memory", "limits.cpu"]
    assert read == Limits(no_progress_s=5)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["timeout", "memory"]), inner)
    ),
)


@given(JSON | st.fixed_dictionaries({}, optional={"timeout": JSON, "noProgress": JSON, "memory": JSON}))
def test_no_shape_of_limits_is_a_surprise(limits: Any) -> None:
    """Whatever a task carries, it is read or refused; what is read is a usable limit."""
    read, problems = read_limits(limits)
    for value in (read.timeout_s, read.no_progress_s, read.memory_bytes):
        assert value is None or 0 < value <= 2**63
    assert all(len(problem) < 300 for problem in problems)
