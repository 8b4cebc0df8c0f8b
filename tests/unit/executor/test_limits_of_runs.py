"""Limits of time and memory: told before they are enforced, and enforced from outside."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.unit.executor.bench import bench, is_running, stop_at_progress, within_limit
from worker.api.wire import ErrorKind, ResultCode
from worker.executor import steering
from worker.executor.executor import StopRequest
from worker.executor.limits import Limits
from worker.executor.outcome import RunError

LIMITED = Path(__file__).with_name("limit_handlers.py")
SLOTS = Path(__file__).with_name("slot_handlers.py")


def error_of(
    folder: Path, type_: str, task: object = None, agent: Limits | None = None, **parameters: Any
) -> RunError:
    """Run a task that fails; return why."""
    errors: list[RunError | None] = []

    async def scenario() -> None:
        async with bench(folder, handlers=LIMITED, limits=agent) as it:
            errors.append((await it.run(type_, **parameters, limits=task)).error)
            assert [pid for pid in it.spawner.pids if is_running(pid)] == []

    within_limit(scenario())
    assert errors[0] is not None
    return errors[0]


@pytest.mark.parametrize(
    ("task", "agent"),
    [
        ({"timeout": "0.3s"}, None),
        (None, Limits(timeout_s=0.3)),
        ({"timeout": "5m"}, Limits(timeout_s=0.3)),
        ({"timeout": 0.3}, Limits(timeout_s=300)),
    ],
)
def test_a_run_ends_at_the_limit_that_holds(tmp_path: Path, task: object, agent: Limits | None) -> None:
    """The task's, else the handler's (a minute here), never above the agent's."""
    error = error_of(tmp_path, "endless", task, agent)
    assert (error.kind, error.message) == (ErrorKind.TIMEOUT, "the run took longer than 0.3 s")


@pytest.mark.parametrize(
    ("task", "agent"), [({"noProgress": 0.3}, None), ({"noProgress": "1h"}, Limits(no_progress_s=0.3))]
)
def test_a_silent_run_ends_at_the_limit_that_holds(
    tmp_path: Path, task: object, agent: Limits | None
) -> None:
    """Also where the handler itself sets none."""
    error = error_of(tmp_path, "endless", task, agent)
    assert (error.kind, error.message) == (ErrorKind.NO_PROGRESS, "the run told no progress for 0.3 s")


@pytest.mark.parametrize("limits", [{"timeout": "soon"}, {"time": 1}, 5, {"memory": -1}])
def test_limits_that_cannot_be_read_fail_the_run_before_anything_starts(
    tmp_path: Path, limits: object
) -> None:
    """Nobody runs without the limit that was meant; the same task would fail again."""

    async def scenario() -> None:
        async with bench(tmp_path, handlers=LIMITED) as it:
            error = (await it.run("told-limits", limits=limits)).error
            assert error is not None
            assert (error.kind, error.retryable) == (ErrorKind.INVALID_PARAMETERS, False)
            assert error.message.startswith("limits")
            assert it.spawner.pids == []

    within_limit(scenario())


@pytest.mark.parametrize(
    ("task", "agent", "expected_s"),
    [(None, None, 100), ({"timeout": "5m"}, None, 300), ({"timeout": "5m"}, Limits(timeout_s=200), 200)],
)
def test_the_context_knows_the_limit_that_holds(
    tmp_path: Path, task: object, agent: Limits | None, expected_s: float
) -> None:
    """`ctx.deadline` counts down to it; the handler never sees `limits` among its parameters."""

    async def scenario() -> None:
        async with bench(tmp_path, handlers=LIMITED, limits=agent) as it:
            value = (await it.run("told-limits", limits=task)).value
            assert expected_s - 10 < value["left_s"] <= expected_s
            assert value["parameters"] == {}

    within_limit(scenario())


@pytest.mark.parametrize(
    ("limits", "kind"), [({"timeout": 0.5}, "timeout"), ({"timeout": 60, "noProgress": 0.5}, "no_progress")]
)
def test_a_handler_is_told_why_and_by_when_and_can_save(
    tmp_path: Path, limits: dict[str, float], kind: str
) -> None:
    """At its limit a run is asked to stop, with seconds left to save its work."""

    async def scenario() -> None:
        async with bench(tmp_path, handlers=LIMITED) as it:
            outcome = await it.run("saving", limits=limits)
            assert outcome.error is not None
            assert outcome.error.kind == kind
            saved: Any = outcome.checkpoint
            assert saved["why"] == kind
            assert 0 < saved["before_s"] <= limits["timeout"]
            assert 0 < saved["left_s"] <= 5.0

    within_limit(scenario())


def test_an_async_handler_is_cancelled_at_its_limit_and_can_save(tmp_path: Path) -> None:
    """Its wait is over at once; what it saves on the way out is kept."""

    async def scenario() -> None:
        async with bench(tmp_path, handlers=LIMITED) as it:
            outcome = await it.run("async-saving", limits={"timeout": 0.3})
            assert outcome.error is not None
            assert outcome.error.kind is ErrorKind.TIMEOUT
            saved: Any = outcome.checkpoint
            assert saved["why"] == "timeout"
            assert 0 < saved["left_s"] <= 5.0

    within_limit(scenario())


@pytest.mark.parametrize("how", ["sleeps", "loops"])
@pytest.mark.parametrize("limits", [{"timeout": 0.5}, {"noProgress": 0.5}])
def test_native_code_that_hears_no_signal_is_killed(
    tmp_path: Path, how: str, limits: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Limits are held from outside: every signal blocked, the interpreter's lock kept."""
    monkeypatch.setattr(steering, "LIMIT_GRACE_S", 0.3)  # the wait is the constant's, not the test's
    error = error_of(tmp_path, "native", limits, how=how)
    assert error.kind is (ErrorKind.TIMEOUT if "timeout" in limits else ErrorKind.NO_PROGRESS)
    assert error.message.endswith("; it did not stop in time and was killed")
    assert error.signal == "SIGKILL"


def test_the_grace_of_another_stop_does_not_put_a_limit_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A drain with an hour's grace ends a run that has three tenths of a second left."""
    monkeypatch.setattr(steering, "LIMIT_GRACE_S", 0.3)  # the wait is the constant's, not the test's

    async def scenario() -> None:
        async with bench(tmp_path, handlers=LIMITED) as it:
            stop = StopRequest()
            outcome = await stop_at_progress(
                it,
                "native",
                stop,
                lambda: stop.request(ErrorKind.DRAINED, "the agent stops", 3600),
                how="sleeps",
                limits={"timeout": 0.3},
            )
            assert outcome.error is not None
            assert outcome.error.kind is ErrorKind.DRAINED
            assert outcome.error.signal == "SIGKILL"

    within_limit(scenario())


@pytest.mark.parametrize(
    ("type_", "task", "agent"),
    [
        ("hungry", {"memory": "150MiB"}, None),
        ("hungry", None, Limits(memory_bytes=150 << 20)),
        ("hungry", {"memory": "300GiB"}, Limits(memory_bytes=150 << 20)),
        ("frugal", None, None),
    ],
)
def test_a_run_that_takes_too_much_memory_is_ended(
    tmp_path: Path, type_: str, task: object, agent: Limits | None
) -> None:
    """Out of memory, with the limit that held; not a crash of unknown cause."""
    error = error_of(tmp_path, type_, task, agent)
    assert error.kind is ErrorKind.OUT_OF_MEMORY, error
    assert "150" in error.message


def test_a_task_may_have_more_memory_than_its_handler_expects(tmp_path: Path) -> None:
    """Who submits knows how large the input is."""

    async def scenario() -> None:
        async with bench(tmp_path, handlers=LIMITED) as it:
            stop = StopRequest()
            took: list[float] = []

            def on_event(event: Any) -> None:
                took.append(getattr(event, "ratio", 0.0))
                if took[-1] > 0.9:
                    stop.request(ErrorKind.CANCELLED, "enough", 0.0)

            outcome = await it.run("frugal", stop=stop, on_event=on_event, mib=250, limits={"memory": "2GiB"})
            assert outcome.error is not None
            assert outcome.error.kind is ErrorKind.CANCELLED

    within_limit(scenario())


def test_a_child_whose_memory_grows_is_replaced(tmp_path: Path) -> None:
    """Against what it had after its first run; a big first run is no growth."""

    async def scenario() -> None:
        async with bench(tmp_path, handlers=SLOTS, growth_bytes=64 << 20) as it:
            sizes = (100 << 20, 1 << 20, 40 << 20, 40 << 20, 1 << 20)
            pids = [(await it.run("grows", size_bytes=size)).value["value"] for size in sizes]
            assert len(set(pids[:4])) == 1
            assert pids[4] != pids[0]

    within_limit(scenario())


def test_a_run_is_not_charged_for_what_others_left_in_its_process(tmp_path: Path) -> None:
    """A task with a limit below what the warm process holds already gets a new one."""

    async def scenario() -> None:
        async with bench(tmp_path, handlers=SLOTS) as it:
            limits = [None, None, {"memory": "200MiB"}, {"memory": "1GiB"}]
            sizes = [300 << 20, 1, 1, 1]
            outcomes = [
                await it.run("grows", size_bytes=size, limits=limit)
                for size, limit in zip(sizes, limits, strict=True)
            ]
            assert [outcome.error for outcome in outcomes] == [None] * 4
            pids = [outcome.value["value"] for outcome in outcomes]
            assert pids[0] == pids[1] != pids[2] == pids[3]

    within_limit(scenario())


def test_a_handler_that_is_set_up_may_grow_as_its_first_run_does(tmp_path: Path) -> None:
    """No bound of growth ends a child whose runs ended well before: the run itself is a success."""

    async def scenario() -> None:
        async with bench(tmp_path, handlers=SLOTS, growth_bytes=0) as it:
            for _ in range(3):
                outcome = await it.run("grows", size_bytes=8 << 20)
                assert outcome.code is ResultCode.SUCCESS

    within_limit(scenario())


def test_a_changed_module_beside_a_handler_is_imported_anew(tmp_path: Path) -> None:
    """An author who edits what the handler imports sees it with the next task; libraries are left alone."""
    handlers = tmp_path / "mine"
    (handlers / "parts").mkdir(parents=True)
    (handlers / "beside.py").write_text("X = 1\n")
    (handlers / "parts" / "below.py").write_text("Y = 1\n")
    (handlers / "uses.py").write_text(
        "import os\nfrom worker import handler\nimport beside\nfrom parts import below\n"
        "@handler()\ndef uses(ctx):\n    return [beside.X, below.Y, os.getpid()]\n"
    )

    async def scenario() -> None:
        async with bench(tmp_path, handlers=handlers / "uses.py") as it:
            first = (await it.run("uses")).value["value"]
            assert first == (await it.run("uses")).value["value"]
            (handlers / "beside.py").write_text("X = 22\n")
            second = (await it.run("uses")).value["value"]
            (handlers / "parts" / "below.py").write_text("Y = 22\n")
            third = (await it.run("uses")).value["value"]
            assert [first[:2], second[:2], third[:2]] == [[1, 1], [22, 1], [22, 22]]

    within_limit(scenario())


def test_describing_a_handler_does_not_set_it_up(tmp_path: Path) -> None:
    """The catalogue of an agent knows the types; no model is loaded for that."""
    from worker.executor.catalogue import open_catalogue
    from worker.executor.describer import Describer

    slots = Path(shutil.copy(SLOTS, tmp_path / "slots.py"))
    catalogue = asyncio.run(open_catalogue([str(slots)], Describer(None), []))
    assert {"kept", "hanging-setup", "quitting-setup"} <= set(catalogue.types)
    problem = catalogue.entries["demanding-setup"].problem
    assert problem == "setup takes nothing or one context, and this one requires model, device"
    assert not (tmp_path / "notes").exists()
