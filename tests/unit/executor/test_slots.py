"""Setup, state and teardown of a handler in its process."""

import asyncio
import shutil
from pathlib import Path

import pytest

from tests.skipping import skip
from tests.unit.executor.bench import TEST_LIMIT_S, bench, is_running, stop_at_progress, within_limit
from worker.api.wire import ErrorKind, ResultCode
from worker.executor import steering
from worker.executor.executor import StopRequest

SLOTS = Path(__file__).with_name("slot_handlers.py")
IDLE_S = 100.0  # of which nothing is waited for


@pytest.fixture
def slots(tmp_path: Path) -> Path:
    """Return the handlers where they may write notes."""
    return Path(shutil.copy(SLOTS, tmp_path / "slots.py"))


def notes_of(slots: Path) -> list[str]:
    """Return what the handlers noted."""
    notes = slots.with_name("notes")
    return notes.read_text().splitlines() if notes.exists() else []


def test_setup_runs_once_for_every_run_of_its_process(tmp_path: Path, slots: Path) -> None:
    """A model is loaded by the first task of a type and there for the next."""

    async def scenario() -> None:
        async with bench(tmp_path, handlers=slots) as it:
            first, second = [(await it.run("kept")).value for _ in range(2)]
            assert (first["runs"], second["runs"]) == (1, 2)
            assert first["pid"] == second["pid"]
            assert first["is_main_thread"]
            assert second["set_up_by"] == "kept"
            assert notes_of(slots) == [f"setup kept {first['pid']}"]
        assert notes_of(slots) == [f"setup kept {first['pid']}", f"teardown kept {first['pid']}"]

    within_limit(scenario())


def test_setup_knows_the_gpus_of_its_process(tmp_path: Path, slots: Path) -> None:
    """A model goes to the GPU that the runs may use; other GPUs are another process."""

    async def scenario() -> None:
        async with bench(tmp_path, handlers=slots) as it:
            for gpus in (("GPU-1",), ("GPU-2",)):
                value = (await it.run("kept", gpus=gpus)).value
                assert (value["gpus"], value["runs"]) == (list(gpus), 1)

    within_limit(scenario())


def test_the_state_of_one_type_is_never_anothers(tmp_path: Path, slots: Path) -> None:
    """Two types of one file with the same setup have a process and a state each."""

    async def scenario() -> None:
        async with bench(tmp_path, handlers=slots) as it:
            values = [(await it.run(type_)).value for type_ in ("kept", "kept-too", "kept", "kept-too")]
            assert [value["type"] for value in values] == ["kept", "kept-too", "kept", "kept-too"]
            assert [value["runs"] for value in values] == [1, 1, 2, 2]
            assert len({value["pid"] for value in values}) == 2

    within_limit(scenario())


def test_a_setup_without_a_context_keeps_its_own_defaults(tmp_path: Path, slots: Path) -> None:
    """Only a parameter that must be given takes the context."""

    async def scenario() -> None:
        async with bench(tmp_path, handlers=slots) as it:
            assert (await it.run("plain")).value == {"value": [3]}

    within_limit(scenario())


def test_an_async_setup_shares_its_loop_with_the_runs(tmp_path: Path, slots: Path) -> None:
    """A client that belongs to a loop is usable in every run; what a run left in the loop is gone."""

    async def scenario() -> None:
        async with bench(tmp_path, handlers=slots) as it:
            values = [(await it.run("session")).value for _ in range(3)]
            assert [value["is_own_loop"] for value in values] == [True] * 3
            assert [value["strays"] for value in values] == [1, 1, 1]
            assert len({value["pid"] for value in values}) == 1
        assert notes_of(slots) == ["closed True"]

    within_limit(scenario())


@pytest.mark.parametrize(
    ("type_", "message", "is_traced"),
    [
        ("broken-setup", "setup of handler 'broken-setup' failed: ValueError: no such model", True),
        ("refusing-setup", "setup of handler 'refusing-setup' failed: the licence is not here", False),
        ("quitting-setup", "setup of handler 'quitting-setup' failed: SystemExit: 0", True),
    ],
)
def test_a_setup_that_fails_fails_the_run(
    tmp_path: Path, slots: Path, type_: str, message: str, is_traced: bool
) -> None:
    """As a handler that cannot be imported: what and why, and where in the author's code."""

    async def scenario() -> None:
        async with bench(tmp_path, handlers=slots) as it:
            error = (await it.run(type_)).error
            assert error is not None
            assert (error.kind, error.message, error.retryable) == (ErrorKind.HANDLER_ERROR, message, True)
            assert (error.traceback is not None) == is_traced
            assert "handler_state.py" not in (error.traceback or "")
            await it.wait_for_children(0)

    within_limit(scenario())


def test_what_a_setup_raises_is_cut_to_a_bound(tmp_path: Path, slots: Path) -> None:
    """Also where it is no text, and larger than what can be sent."""

    async def scenario() -> None:
        async with bench(tmp_path, handlers=slots) as it:
            error = (await it.run("shouting-setup")).error
            assert error is not None
            assert error.kind is ErrorKind.HANDLER_ERROR
            assert error.message.startswith(
                "setup of handler 'shouting-setup' failed: ValueError: no \\udc80 no"
            )
            assert len(error.message) < 50_000
            assert "slots.py" in (error.traceback or "")

    within_limit(scenario())


def test_setup_has_the_limit_of_the_import(
    tmp_path: Path, slots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that hangs is ended, and says what it is that took so long."""
    monkeypatch.setattr(steering, "LIMIT_GRACE_S", 0.0)  # the wait is the constant's, not the test's

    async def scenario() -> None:
        async with bench(tmp_path, handlers=slots, load_timeout_s=1.0) as it:
            error = (await it.run("hanging-setup")).error
            assert error is not None
            assert error.kind is ErrorKind.TIMEOUT
            assert "setup" in error.message

    within_limit(scenario())


def test_setup_does_not_count_against_the_run(tmp_path: Path, slots: Path) -> None:
    """Half a second of setup leaves a run of 0.4 seconds all its time."""

    async def scenario() -> None:
        async with bench(tmp_path, handlers=slots) as it:
            outcome = await it.run("slow-setup")
            assert outcome.error is None
            assert 0 < outcome.value["value"] <= 0.4

    within_limit(scenario())


@pytest.mark.parametrize("type_", ["kept", "kept-fresh"])
def test_teardown_follows_the_last_run_of_a_process(tmp_path: Path, slots: Path, type_: str) -> None:
    """After its number of runs, and after the only run of a fresh one; the next one is set up anew."""

    async def scenario() -> None:
        async with bench(tmp_path, handlers=slots, max_runs=1) as it:
            pids = [(await it.run(type_)).value["pid"] for _ in range(2)]
            await it.wait_for_children(0)
            assert sorted(notes_of(slots)) == sorted(
                [f"{step} {type_} {pid}" for pid in pids for step in ("setup", "teardown")]
            )

    within_limit(scenario())


def test_an_idle_child_that_must_make_room_is_torn_down(tmp_path: Path, slots: Path) -> None:
    """No more than `concurrency` are idle, and who goes cleans up."""

    async def scenario() -> None:
        async with bench(tmp_path, handlers=slots, concurrency=1) as it:
            pid = (await it.run("kept")).value["pid"]
            await it.run("kept-too")
            await it.wait_for_children(1)
            assert notes_of(slots)[-1] == f"teardown kept {pid}"

    within_limit(scenario())


def test_a_child_without_runs_is_torn_down_after_a_while(tmp_path: Path, slots: Path) -> None:
    """What it holds is free for others then; a run in time puts that off."""

    async def scenario() -> None:
        async with bench(tmp_path, handlers=slots, idle_s=IDLE_S) as it:
            pid = (await it.run("kept")).value["pid"]
            for _ in range(3):  # most of the time is over, and begins anew
                await skip(IDLE_S - TEST_LIMIT_S)
                assert (await it.run("kept")).value["pid"] == pid
            await skip(IDLE_S)
            await it.wait_for_children(0)
            assert notes_of(slots)[-1] == f"teardown kept {pid}"
            assert (await it.run("kept")).value["runs"] == 1

    within_limit(scenario(), skipped_s=5 * IDLE_S)


def test_a_child_that_crashed_or_was_killed_is_not_torn_down(tmp_path: Path, slots: Path) -> None:
    """There is nobody left to do it; the next run finds a new process."""

    async def scenario() -> None:
        async with bench(tmp_path, handlers=slots) as it:
            assert (await it.run("kept", then="crash")).code is ResultCode.FAILED
            stop = StopRequest()
            outcome = await stop_at_progress(
                it, "kept", stop, lambda: stop.request(ErrorKind.CANCELLED, "", 0.0), then="hang"
            )
            assert outcome.error is not None
            assert (await it.run("kept")).value["runs"] == 1
            assert [line.split()[0] for line in notes_of(slots)] == ["setup", "setup", "setup"]

    within_limit(scenario())


def test_a_teardown_that_raises_is_logged(
    tmp_path: Path, slots: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No run can tell of it any more, so the agent's log does."""

    async def scenario() -> None:
        async with bench(tmp_path, handlers=slots) as it:
            assert (await it.run("broken-teardown")).code is ResultCode.SUCCESS

    within_limit(scenario())
    told = capsys.readouterr().out
    assert "child.teardown_failed" in told
    assert "no such model" in told


def test_a_teardown_that_hangs_is_ended(tmp_path: Path, slots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent's drain waits for it a bounded time."""
    from worker.executor import link

    monkeypatch.setattr(link, "TEARDOWN_TIMEOUT_S", 0.2)  # the wait is the constant's, not the test's

    async def scenario() -> None:
        async with bench(tmp_path, handlers=slots) as it:
            pid = (await it.run("hanging-teardown")).value["value"]
            async with asyncio.timeout(15):
                await it.executor.aclose()
            assert not is_running(pid)

    within_limit(scenario())


def test_a_gpu_is_free_of_other_types_before_a_run_begins(tmp_path: Path, slots: Path) -> None:
    """What an idle child holds there would be missing to the run that has it for itself."""

    async def scenario() -> None:
        async with bench(tmp_path, handlers=slots) as it:
            pid = (await it.run("kept", gpus=("GPU-1", "GPU-2"))).value["pid"]
            other = (await it.run("kept-too", gpus=("GPU-3",))).value["pid"]
            await it.run("plain", gpus=("GPU-2",))
            assert notes_of(slots)[-1] == f"teardown kept {pid}"
            assert not is_running(pid)
            assert is_running(other)

    within_limit(scenario())


def test_a_program_that_setup_started_stays_with_its_process(tmp_path: Path, slots: Path) -> None:
    """So do those that it starts; both go when the child is let go."""

    async def scenario() -> None:
        async with bench(tmp_path, handlers=slots) as it:
            first, second = [(await it.run("with-program")).value for _ in range(2)]
            assert first == second
            assert is_running(first["program"])
        assert not is_running(first["program"])

    within_limit(scenario())


@pytest.mark.parametrize("then", ["end", "leave"])
def test_a_child_whose_programs_are_others_than_after_setup_is_replaced(
    tmp_path: Path, slots: Path, then: str
) -> None:
    """One that ended is set up anew, one that was left behind is ended; the next run has what setup makes."""

    async def scenario() -> None:
        async with bench(tmp_path, handlers=slots) as it:
            first = (await it.run("with-program", then=then)).value
            second = (await it.run("with-program")).value
            assert first["pid"] != second["pid"]
            assert not is_running(first["program"])
            assert is_running(second["program"])

    within_limit(scenario())
