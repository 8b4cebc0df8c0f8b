"""The demo believes nothing that it has not read from the disk."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import pytest

from worker.api.models import Job, Run, Task
from worker.cli import demo
from worker.cli.demo import STALL_S, Stuck, check_moving, demo_plan, do_work
from worker.cli.demo_check import problems
from worker.cli.mill import Layout
from worker.cli.outcomes import TaskOutcome
from worker.cli.terminal import Output

BROKEN = "broken.glb → stl"


def outcome(title: str, **run: Any) -> TaskOutcome:
    """Return a task with a run that has stopped."""
    task = Task.read({"id": title, "title": title})
    assert task is not None
    stopped = {"startedAt": "2026-01-01T00:00:00Z", "stoppedAt": "2026-01-01T00:00:01Z"}
    return TaskOutcome(task, Run.read({"id": f"run of {title}", **stopped, **run}))


def succeeded(path: Path, **changed: Any) -> TaskOutcome:
    """Return a task that says it made this file."""
    content = path.read_bytes() if path.exists() else b"x"
    file = {
        "name": path.name,
        "url": path.as_uri(),
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    return outcome(path.name, resultCode="Success", results={"files": [{**file, **changed}]})


def failed(kind: str = "handler_error") -> TaskOutcome:
    """Return the broken task as it must be."""
    return outcome(BROKEN, resultCode="Failed", error=f"{kind}: broken.glb is cut off")


def test_everything_as_announced_is_no_problem(tmp_path: Path) -> None:
    """A file that is as its run says, and a broken model that failed as it must."""
    path = tmp_path / "a.stl"
    path.write_bytes(b"solid")
    assert problems([succeeded(path), failed()], 2, BROKEN) == []


def test_each_way_to_go_wrong_is_found(tmp_path: Path) -> None:
    """Missing, empty, another size or content, no file, no success, no failure, another kind, too few."""
    whole, empty = tmp_path / "a.stl", tmp_path / "empty.stl"
    whole.write_bytes(b"solid")
    empty.touch()
    cases = {
        "does not exist": succeeded(tmp_path / "missing.stl"),
        "is empty": succeeded(empty),
        "has 5 bytes, its run says 4": succeeded(whole, size=4),
        "SHA-256 differs": succeeded(whole, sha256="0" * 64),
        "has no output file": outcome("a", resultCode="Success", results={}),
        "must succeed, but: timeout": outcome("a", resultCode="Failed", error="timeout"),
        "must succeed, but: no result": TaskOutcome(outcome("a").task, None),
        "must fail, but its result is Success": outcome(BROKEN, resultCode="Success"),
        "must fail with handler_error": failed("crashed"),
    }
    for said, one in cases.items():
        found = problems([one], 1, BROKEN)
        assert len(found) == 1
        assert said in found[0]
    assert problems([], 1, BROKEN) == ["0 tasks instead of 1"]


def test_the_demo_has_enough_real_tasks_and_one_that_is_broken() -> None:
    """At least 24 conversions in several formats, and every input is there."""
    plan = demo_plan()
    assert len(plan.parameters) >= 25
    assert len({parameters["format"] for parameters in plan.parameters}) >= 3
    assert plan.titles[-1] == BROKEN
    assert len(set(plan.titles)) == len(plan.titles)
    assert all(Path(parameters["input"].removeprefix("file://")).is_file() for parameters in plan.parameters)


def test_a_demo_that_stands_still_ends_with_the_reason() -> None:
    """Nobody waits for ever in front of it."""
    job = Job.read({"id": "j", "taskCount": 34, "taskStatusStopped": 0})
    assert job is not None
    check_moving(job, STALL_S)
    with pytest.raises(Stuck, match=r"nothing has moved for 60 s \(0/34 done\)"):
        check_moving(job, STALL_S + 1.0)


def test_a_demo_whose_agent_does_not_start_ends_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is submitted to an agent that is not there."""
    monkeypatch.setattr(demo, "START_S", 0.01)  # the limit itself is what is looked at
    layout = Layout(folder=tmp_path, port=1, token_file=tmp_path / "token", store=str(tmp_path))
    out = Output(is_json=True, is_terminal=False, has_color=False)
    with pytest.raises(Stuck, match="has not started after"):
        asyncio.run(do_work(layout, out, asyncio.Event()))
