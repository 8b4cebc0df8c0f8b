"""What a handler may do with its context."""

from pathlib import Path
from typing import Any

import pytest

from worker.sdk import Cancelled, Context
from worker.sdk.artifact_names import MAX_ARTIFACTS
from worker.sdk.stop_signal import StopSignal
from worker.sdk.testing import KeepingSink, make_context


class StandingClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def context_at(clock: StandingClock, tmp_path: Path, **values: Any) -> tuple[Context, KeepingSink]:
    """Return a context on a clock of the test's, and what it tells."""
    sink = KeepingSink()
    return Context(run_id="r", task_id="t", type="x", workdir=tmp_path, sink=sink, mono=clock, **values), sink


def test_progress_is_clamped_and_never_goes_back(tmp_path: Path) -> None:
    """Whatever a handler computes, the wire sees 0…1, rising; what is no number says nothing."""
    ctx = make_context(tmp_path)
    for ratio in (-1, 0.5, 0.2, float("nan"), float("inf"), 7):
        ctx.progress(ratio)
    assert [ratio for ratio, _ in ctx.told.progress] == [0.0, 0.5, 0.5, 0.5, 0.5, 1.0]


def test_fast_progress_is_held_back_but_the_last_value_goes(tmp_path: Path) -> None:
    """An inner loop may call it a million times."""
    clock = StandingClock()
    ctx, sink = context_at(clock, tmp_path)
    for step in range(1000):
        ctx.progress(step / 1000)
    assert sink.told.progress == [(0.0, None)]
    clock.now += 0.2
    ctx.progress(0.9995, "nearly")
    ctx.progress(1.0, "done")
    ctx.flush()
    ctx.flush()
    assert sink.told.progress[1:] == [(0.9995, "nearly"), (1.0, "done")]


def test_log_keeps_levels_it_knows(tmp_path: Path) -> None:
    """An unknown level is info; fields stay fields."""
    ctx = make_context(tmp_path)
    ctx.log("one", level="error", frame=3)
    ctx.log(2, level="loud")
    assert ctx.told.logs == [("error", "one", {"frame": 3}), ("info", "2", {})]


def test_an_artifact_must_be_a_file_with_a_name_of_its_own(tmp_path: Path) -> None:
    """Missing files, folders, taken and unusable names are refused where the handler stands."""
    ctx = make_context(tmp_path)
    (tmp_path / "a.stl").write_text("x")
    assert ctx.artifact(tmp_path / "a.stl") == "a.stl"
    assert ctx.artifact(str(tmp_path / "a.stl"), name="deep/b.stl", content_type="model/stl") == "deep/b.stl"
    assert ctx.told.artifacts == {"a.stl": tmp_path / "a.stl", "deep/b.stl": tmp_path / "a.stl"}
    with pytest.raises(FileNotFoundError, match="does not exist"):
        ctx.artifact(tmp_path / "none")
    with pytest.raises(ValueError, match="no regular file"):
        ctx.artifact(tmp_path)
    with pytest.raises(ValueError, match="taken"):
        ctx.artifact(tmp_path / "a.stl")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/a",
        "a/",
        "a//b",
        "../a",
        "a/../b",
        ".",
        "a\0b",
        "a\nb",
        "a\\b",
        "x" * 256,
        "/".join(["x" * 100] * 9),
    ],
)
def test_an_artifact_name_stays_below_its_run(tmp_path: Path, name: str) -> None:
    """No name leads out of the run's place or surprises a file system."""
    ctx = make_context(tmp_path)
    (tmp_path / "a").write_text("x")
    with pytest.raises(ValueError, match="no artifact name"):
        ctx.artifact(tmp_path / "a", name=name)


@pytest.mark.parametrize("name", ["stdout", "stderr", "stdout/a", "a/b", "deep"])
def test_an_artifact_name_must_be_free(tmp_path: Path, name: str) -> None:
    """Not that of the run's output, nor one that is a file and a folder."""
    ctx = make_context(tmp_path)
    (tmp_path / "file").touch()
    ctx.artifact(tmp_path / "file", name="a")
    ctx.artifact(tmp_path / "file", name="deep/b")
    with pytest.raises(ValueError, match=f"artifact name '{name}' (is reserved|makes a file a folder)"):
        ctx.artifact(tmp_path / "file", name=name)


def test_the_number_of_artifacts_is_bounded(tmp_path: Path) -> None:
    """A handler that makes a file a frame packs them."""
    ctx = make_context(tmp_path)
    (tmp_path / "a").write_text("x")
    for number in range(MAX_ARTIFACTS):
        ctx.artifact(tmp_path / "a", name=str(number))
    with pytest.raises(ValueError, match="at most"):
        ctx.artifact(tmp_path / "a", name="one more")


def test_a_stop_is_seen_and_raised_where_the_handler_asks(tmp_path: Path) -> None:
    """`check` raises what `except Exception` does not swallow."""
    ctx = make_context(tmp_path)
    ctx.check()
    assert (ctx.cancelled, ctx.stop_reason) == (False, None)
    ctx.ask_to_stop("drained", "the agent stops")
    assert (ctx.cancelled, ctx.stop_reason) == (True, "drained")
    with pytest.raises(Cancelled, match="drained: the agent stops"):
        ctx.check()
    assert not issubclass(Cancelled, Exception)


def test_the_deadline_is_that_of_the_stop_else_of_the_limit(tmp_path: Path) -> None:
    """Seconds that are left, never below 0; None without a limit."""
    clock = StandingClock()
    assert context_at(clock, tmp_path)[0].deadline is None
    stop = StopSignal()
    ctx, _ = context_at(clock, tmp_path, stop=stop, limit_mono=160.0)
    assert ctx.deadline == 60
    stop.set("drained", "", 110.0)
    stop.set("cancelled", "", 105.0)
    stop.set("cancelled", "", 500.0)
    assert (ctx.deadline, ctx.stop_reason) == (5, "drained")
    clock.now = 200
    assert ctx.deadline == 0


def test_a_run_that_hit_its_limit_has_the_last_seconds_that_it_is_given(tmp_path: Path) -> None:
    """The stop says by when it is killed; that its limit is over does not make that 0."""
    clock = StandingClock()
    stop = StopSignal()
    ctx, _ = context_at(clock, tmp_path, stop=stop, limit_mono=clock.now - 1.0)
    assert ctx.deadline == 0
    stop.set("timeout", "the run took longer than 60 s", clock.now + 5.0)
    assert (ctx.deadline, ctx.stop_reason) == (5, "timeout")


def test_the_state_of_setup_is_the_contexts(tmp_path: Path) -> None:
    """An author's test gives what `setup` would return; by default there is none."""
    assert make_context(tmp_path).state is None
    assert make_context(tmp_path, state={"model": 1}).state == {"model": 1}


def test_checkpoints_are_told(tmp_path: Path) -> None:
    """The token goes on its way at once; `resume` is what an earlier attempt told."""
    ctx = make_context(tmp_path, resume={"frame": 3}, attempt=2, parameters={"a": 1})
    ctx.checkpoint({"frame": 4})
    assert ctx.told.checkpoints == [{"frame": 4}]
    assert (ctx.resume, ctx.attempt, ctx.parameters) == ({"frame": 3}, 2, {"a": 1})
