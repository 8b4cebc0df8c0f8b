"""The fixtures of pytest, as an author's tests use them; and what it costs that they are always there."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from millhand_pytest import RunHandler, RunHandlerInChild
from tests.unit.kit import good_and_bad
from tests.unit.test_imports import modules_after
from worker import Cancelled, Context, Fail, Retry, handler
from worker.sdk.errors import InvalidParameters
from worker.testing import Called, ChildRunner, FakeClock, ToldContext

SECRET = "correct-horse-battery"
HOUR_S = 3600.0
STATES: list[str] = []


@handler("patient", timeout_s=2 * HOUR_S)
def patient(ctx: Context, *, hours: int = 1) -> dict[str, Any]:
    """Take hours."""
    started = time.monotonic()
    for hour in range(hours):
        ctx.check()
        time.sleep(HOUR_S)
        ctx.progress((hour + 1) / hours)
    return {"s": time.monotonic() - started, "left_s": ctx.deadline}


async def load() -> str:
    """Return a model."""
    await asyncio.sleep(HOUR_S)
    STATES.append("loaded")
    return "model"


def unload(state: str) -> None:
    """Let the model go."""
    STATES.append(f"{state} unloaded")


@handler("asynchronous", setup=load, teardown=unload)
async def asynchronous(ctx: Context) -> dict[str, Any]:
    """Wait for several things at once."""
    await asyncio.gather(asyncio.sleep(HOUR_S), asyncio.sleep(2 * HOUR_S))
    return {"state": ctx.state}


@handler("brief")
async def brief(ctx: Context) -> dict[str, Any]:
    """Wait for nothing."""
    await asyncio.sleep(0)
    return {}


def test_a_handler_runs_in_this_process_as_a_run_does(run_handler: RunHandler) -> None:
    """Parameters are converted, the result is as in JSON, the folder is the run's own; all is kept."""
    ran = run_handler(good_and_bad.good, {"steps": "2", "password": SECRET})
    assert ran.value == {"total": 3, "signed": True}
    assert ran.told.progress == [(0.5, "step 1"), (1.0, "step 2")]
    assert ran.told.checkpoints[-1] == {"done": 2, "total": 3}
    assert ran.told.artifacts["total.txt"].read_text() == "3"
    assert ran.told.secrets == [SECRET]


def test_a_run_goes_on_from_a_checkpoint(run_handler: RunHandler) -> None:
    """What `make_context` takes, `run_handler` takes."""
    ran = run_handler(good_and_bad.good, {"steps": 3}, resume={"done": 2, "total": 3}, attempt=2)
    assert ran.value["total"] == 6
    assert len(ran.told.progress) == 1


def test_what_a_handler_raises_is_raised(run_handler: RunHandler) -> None:
    """Failures, parameters that do not fit, a stop at a certain progress."""
    with pytest.raises(Fail, match="the model is missing"):
        run_handler(good_and_bad.failing)
    with pytest.raises(InvalidParameters, match="steps: expected"):
        run_handler(good_and_bad.good, {"steps": "many"})
    with pytest.raises(Cancelled):
        run_handler(good_and_bad.good, {"steps": 4}, stop_at=0.5)
    with pytest.raises(TypeError, match="not decorated"):
        run_handler(Retry)


def test_time_passes_by_the_clock_alone(run_handler: RunHandler, handler_clock: FakeClock) -> None:
    """An hour takes no time, the deadline goes by the same clock, and the real one is back afterwards."""
    ran = run_handler(patient, {"hours": 1}, timeout_s=1.5 * HOUR_S)
    assert ran.value == {"s": HOUR_S, "left_s": 0.5 * HOUR_S}
    assert time.monotonic() != handler_clock.mono()
    with pytest.raises(ValueError, match="backwards"):
        handler_clock.advance(-1)


def test_async_handlers_go_by_the_clock_too(run_handler: RunHandler, handler_clock: FakeClock) -> None:
    """`setup` and `teardown` are called around the run, unless the test gives the state."""
    before = handler_clock.mono()
    STATES.clear()
    assert run_handler(asynchronous).value == {"state": "model"}
    assert handler_clock.mono() - before == 3 * HOUR_S
    assert STATES == ["loaded", "model unloaded"]
    assert run_handler(asynchronous, state="fake").value == {"state": "fake"}
    assert len(STATES) == 2


@pytest.fixture
def own_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """The event loop that a test set for its thread."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield loop
    asyncio.set_event_loop(None)
    loop.close()


@pytest.mark.parametrize("handler_", [good_and_bad.good, brief])
def test_a_run_in_this_process_leaves_the_event_loop_alone(
    run_handler: RunHandler, own_loop: asyncio.AbstractEventLoop, handler_: Callable[..., Any]
) -> None:
    """Code that is tested beside handlers goes on with the loop that was set."""
    run_handler(handler_)
    assert asyncio.get_event_loop() is own_loop


def test_a_run_in_a_child_leaves_the_event_loop_alone(
    tmp_path: Path, own_loop: asyncio.AbstractEventLoop
) -> None:
    """While the child is warm, and once it has ended."""
    with ChildRunner("noop", tmp_path) as runner:
        assert runner.run({"value": 7}).value == {"value": 7}
        assert asyncio.get_event_loop() is own_loop
    assert asyncio.get_event_loop() is own_loop


def test_a_sync_handler_runs_where_a_loop_goes_on(run_handler: RunHandler) -> None:
    """A test that is a coroutine may run it: it needs no loop of its own."""

    async def test() -> Called:
        return run_handler(good_and_bad.good)

    assert asyncio.run(test()).value["total"] == 15


def test_a_context_has_a_deadline_and_a_folder(handler_context: Callable[..., ToldContext]) -> None:
    """For tests that call the function themselves."""
    clock = FakeClock()
    context = handler_context(timeout_s=60, clock=clock)
    clock.advance(20)
    assert context.deadline == 40
    context.ask_to_stop(within_s=5)
    clock.advance(4)
    assert context.deadline == 1
    assert context.workdir.is_dir()
    assert handler_context().workdir != context.workdir


def test_a_handler_runs_in_a_real_child(run_handler_in_child: RunHandlerInChild) -> None:
    """A warm one serves again; a killed one leaves its checkpoint; a cancelled one says why."""
    ran = run_handler_in_child(good_and_bad.good, {"steps": 2, "password": SECRET})
    assert ran.kind is None, ran.text
    assert ran.value == {"total": 3, "signed": True}
    assert ran.artifacts["total.txt"].read_text() == "3"
    assert ran.progress[-1] == (1.0, "step 2")
    assert run_handler_in_child(good_and_bad.good, {"steps": 1}).pid == ran.pid
    killed = run_handler_in_child(good_and_bad.good, {"steps": 10_000}, kill_at="checkpoint")
    assert killed.kind == "crashed"
    done = killed.checkpoint["done"]
    assert 1 <= done < 10_000
    again = run_handler_in_child(good_and_bad.good, {"steps": done + 1}, resume=killed.checkpoint, attempt=2)
    assert again.value["total"] == (done + 1) * (done + 2) / 2
    cancelled = run_handler_in_child(good_and_bad.good, {"steps": 10_000}, cancel_at="progress")
    assert (cancelled.kind, cancelled.stopped_s is not None) == ("cancelled", True)


def test_a_failure_in_a_child_is_a_part_of_what_is_returned(run_handler_in_child: RunHandlerInChild) -> None:
    """With its kind and text."""
    failed = run_handler_in_child(good_and_bad.failing)
    assert failed.text == "handler_error: the model is missing"
    assert run_handler_in_child("noop", {"value": 7}).value == {"value": 7}


def test_the_plugin_costs_a_test_run_nothing(tmp_path: Path) -> None:
    """Every pytest of an environment loads it: nothing of ours comes with it."""
    loaded = modules_after("import millhand_pytest")
    assert not any(name.split(".")[0] in {"worker", "handlers", "server"} for name in loaded)
    assert not loaded & {"msgspec", "structlog", "aiohttp"}


@pytest.mark.parametrize("flags", [[], ["-P"]], ids=["python -m pytest", "pytest"])
def test_a_project_with_a_package_worker_of_its_own_is_tested(tmp_path: Path, flags: list[str]) -> None:
    """Its tests import theirs, whether pytest is started with their folder on `sys.path` or without."""
    (tmp_path / "worker").mkdir()
    (tmp_path / "worker" / "__init__.py").touch()
    (tmp_path / "worker" / "queues.py").write_text("NAME = 'theirs'\n")
    (tmp_path / "test_theirs.py").write_text(
        "from worker.queues import NAME\n\n\ndef test_it():\n    assert NAME == 'theirs'\n"
    )
    ran = subprocess.run(
        [sys.executable, *flags, "-m", "pytest"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (ran.returncode, "1 passed" in ran.stdout) == (0, True), ran.stdout + ran.stderr


def test_the_fixtures_are_what_the_installation_offers() -> None:
    """The entry point names the module whose fixtures these tests use."""
    offered = {one.name: one.value for one in entry_points(group="pytest11")}
    assert offered["millhand"] == RunHandler.__module__


def test_the_kit_itself_runs_without_pytest(tmp_path: Path) -> None:
    """Pytest is no dependency: a script may check a handler."""
    code = (
        "import sys; sys.modules['pytest'] = None; "
        "from worker.testing import check_handler, make_context; print('fine')"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    assert ran.stdout == "fine\n"
