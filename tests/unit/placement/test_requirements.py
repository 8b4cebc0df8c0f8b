"""What cannot be read is never taken for no need: the task is left, and the key is named."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.placement.machines import A100, L4, machine
from worker.agent.placement import unmet
from worker.agent.requirements import read_requirements

KEYS = ("gpus", "gpuType", "gpuMemory", "cpus", "memory", "labels")
HUGE = 10**5000  # Python refuses to print it


@pytest.mark.parametrize(
    ("requires", "problem"),
    [
        ([], "requires must be an object with gpus, "),
        ("gpus=1", "requires must be an object with gpus, "),
        (7, "requires must be an object"),
        (True, "requires must be an object"),
        ({"gpu": 1}, "requires.gpu is not known; known are gpus, gpuType,"),
        ({"GPUS": 1}, "requires.GPUS is not known"),
        ({"x" * 999: 1}, "requires.xxx"),
        ({"gpus": True}, "requires.gpus must be a number, not true"),
        ({"gpus": 1.5}, "requires.gpus must be a whole number, not 1.5"),
        ({"gpus": "two"}, "requires.gpus must be a number, not 'two'"),
        ({"gpus": ""}, "requires.gpus must be a number, not ''"),
        ({"gpus": [1]}, "requires.gpus must be a number, not a list of 1"),
        ({"gpus": -1}, "requires.gpus must not be negative, but is -1"),
        ({"gpus": 0, "gpuType": "L4"}, "requires.gpus is 0, but a type or memory of GPUs is asked for"),
        ({"cpus": "-0.5"}, "requires.cpus must not be negative"),
        ({"cpus": float("nan")}, "requires.cpus must be a number, not nan"),
        ({"cpus": "inf"}, "requires.cpus must be a number, not 'inf'"),
        ({"cpus": "1e3"}, "requires.cpus must be a number, not '1e3'"),
        ({"cpus": "٣"}, "requires.cpus must be a number"),
        ({"cpus": "500m"}, "requires.cpus must be a number"),
        ({"cpus": {}}, "requires.cpus must be a number, not an object"),
        pytest.param({"cpus": -HUGE}, "requires.cpus must not be negative, but is a huge number", id="minus"),
        ({"memory": "16 apples"}, "requires.memory must be bytes, or text like 512M, 24GiB or 24GB, not"),
        ({"memory": "-1GiB"}, "requires.memory must not be negative"),
        ({"memory": False}, "requires.memory must be bytes"),
        ({"memory": "9" * 400}, "requires.memory must be bytes"),
        ({"gpuMemory": "GiB"}, "requires.gpuMemory must be bytes"),
        ({"gpuType": ""}, "requires.gpuType must be a name or a list of names, not ''"),
        ({"gpuType": []}, "requires.gpuType must be a name or a list of names, not a list of 0"),
        ({"gpuType": ["L4", 4]}, "requires.gpuType must be a name"),
        ({"gpuType": 4}, "requires.gpuType must be a name"),
        ({"gpuType": "x" * 257}, "requires.gpuType must be a name"),
        ({"gpuType": ["x"] * 65}, "requires.gpuType must have at most 64 names, not 65"),
        ({"labels": "pool=render"}, "requires.labels must be an object, or a list"),
        ({"labels": [1]}, "requires.labels must be an object, or a list"),
        ({"labels": ["=x"]}, "requires.labels has a label without a usable key"),
        ({"labels": {"": "x"}}, "requires.labels has a label without a usable key"),
        ({"labels": {"a": []}}, "requires.labels must have text as the value of 'a', not a list of 0"),
        ({"labels": {"a": "x" * 257}}, "requires.labels must have text as the value of 'a'"),
        pytest.param(
            {"labels": {"a": HUGE}}, "requires.labels must have text as the value of 'a', not", id="label"
        ),
        ({"labels": ["a"] * 65}, "requires.labels must have at most 64 labels, not 65"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_key(requires: object, problem: str) -> None:
    """A wrong type, an unknown word, a negative number: not met, and the reason is short."""
    (reason,) = unmet(requires, machine(L4, A100), {})
    assert reason.startswith(problem)
    assert len(reason) < 300


@pytest.mark.parametrize("key", ["cpus", "memory", "gpus", "gpuMemory"])
@pytest.mark.parametrize("value", [HUGE, 1e300, float("inf"), "9" * 24, 10**24], ids="abcde")
def test_a_huge_need_is_simply_not_met(key: str, value: object) -> None:
    """However large the number, it is compared, not computed to death."""
    (reason,) = unmet({key: value}, machine(L4, A100), {})
    assert reason.startswith("needs ")


def test_all_problems_are_told_at_once() -> None:
    """Each key that cannot be read has its own sentence."""
    problems = read_requirements({"cpus": "x", "memory": [], "foo": 1})[1]
    assert [problem.split()[0] for problem in problems] == [
        "requires.cpus",
        "requires.memory",
        "requires.foo",
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, max_examples=200, database=None)  # speed is no promise, and no files are left
@given(st.dictionaries(st.sampled_from(KEYS), JSON) | JSON)
def test_nothing_that_json_can_say_breaks_it(requires: Any) -> None:
    """Whatever a task carries, the answer is a tuple of words."""
    reasons = unmet(requires, machine(L4, A100), {"pool": "render"}, free_gpus=1)
    assert all(reason.strip() for reason in reasons)
